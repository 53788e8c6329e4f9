"""Public code as it is written: counts by hand, and no direction left out.

`discovery.census` counts directions without slope at a random point without any ansatz.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.learning.discover.discovery import discover

from . import written

D, H, W = written.D, written.H, written.W
#: Queries against keys and values against outputs, GL(W) a head.
HEADS = 2 * H * W**2
#: A fused kernel's keys have a bias that softmax does not see.
KEYS = H * W

#: Each with the generators that it has by hand.
CASES = {
    "q, k, v apart": (lambda: written.attention("separate"), HEADS),
    "q, k, v apart, biases": (
        lambda: written.attention("separate", True),
        HEADS + KEYS,
    ),
    "q, k, v in one kernel": (lambda: written.attention("fused"), HEADS),
    "q, k, v in one kernel, biases": (
        lambda: written.attention("fused", True),
        HEADS + KEYS,
    ),
    "q, k, v in turns, as NeoX": (lambda: written.attention("neox"), HEADS),
    "heads by reshape, as Llama": (lambda: written.attention("matrices"), HEADS),
    # A scale and a turn for each of two frequencies; GL(4) for values.
    "rotary, one head": (
        lambda: written.attention("matrices", False, "halves", 1, 1, 4),
        2 * 2 + 4**2,
    ),
    "rotary, pairs of neighbours": (
        lambda: written.attention("separate", False, "pairs", 1, 1, 4),
        2 * 2 + 4**2,
    ),
    "rotary in one kernel": (
        lambda: written.attention("fused", False, "halves", H, H, 4),
        H * (2 * 2 + 4**2),
    ),
    "grouped queries": (
        lambda: written.attention("matrices", False, None, 4, 2, 2),
        2 * 2 * 2**2,
    ),
    "gate and up in one kernel": (lambda: written.gated(True), 5),
    "gate and up apart": (lambda: written.gated(False), 5),
    "norm with 1 + scale": (lambda: written.normalised(1.0), 6),
    "norm with scale": (lambda: written.normalised(0.0), 6),
    # SO(4), and shifts of b that c absorbs.
    "tied autoencoder": (written.tied_autoencoder, 4 * 3 // 2 + 4),
    # ReLU units, softmax, and the temperature.
    "temperature exp(t)": (written.temperature, 4 + 4 + 1),
    "phases": (written.phases, 3),
    # Against tokens; nothing is centred.
    "positions": (lambda: written.positions(False), 4),
    # Also rows of both, which overlap once; turns around ones; what they read, shifted.
    "positions, centred": (lambda: written.positions(True), 4 + 7 + 4 - 1 + 3 + 3),
    "BatchNorm in float32": (written.batch_normalised, 26),
    "LayerNorm in float32": (written.layer_normalised, 6 + 1 + 5 + 1),
    "an epsilon of 1e-11": (lambda: written.layer_normalised(1e-11), 6 + 1 + 5 + 1),
    "LSTM": (written.recurrent, 3 + 1),
    "bfloat16": (written.mixed, 8 + 8 + 1),
}


#: Those that others resemble.
SLOW = {
    "q, k, v apart",
    "q, k, v apart, biases",
    "q, k, v in one kernel",
    "q, k, v in turns, as NeoX",
    "rotary, pairs of neighbours",
    "rotary in one kernel",
    "gate and up apart",
    "norm with scale",
    "positions",
    "LayerNorm in float32",
}
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]


@pytest.mark.parametrize("name", MARKED)
def test_as_many_as_by_hand_and_no_other_direction(name):
    make, expected = CASES[name]
    discovery = discover(*make())
    assert discovery.dimension == expected, discovery
    assert discovery.census.missing == 0, discovery
    assert "These are all" in str(discovery)
    for row in discovery.rows:
        if row.kind == "exact":
            assert row.defect < 1e-9 and row.residual < 1e-10, row
            assert row.zero < 1e-13 and row.nonzero > 1e4 * row.zero, row


def test_a_flow_without_a_symmetry_is_counted_as_missing():
    """A control: a function of few inputs has more directions than generators."""
    discovery = discover(*written.unexercised())
    assert discovery.census.missing > 0 and "Not all" in str(discovery)


@pytest.mark.parametrize("seed", range(2))
def test_the_epsilon_of_a_normalisation_in_float32(seed):
    """The null space is that of exact numbers: no crash, no coefficient of 784."""
    discovery = discover(*written.batch_normalised(seed))
    near = [s.evidence for s in discovery.approximate]
    assert [(r.family, r.generators) for r in near] == [("scale", 5), ("scale", 5)]
    assert all(1e-8 < r.residual < 1e-3 and 1e-8 < r.defect < 1e-3 for r in near)
    for symmetry in (*discovery, *discovery.unused, *discovery.approximate):
        assert {abs(c) for _, c in symmetry.generator.terms} == {1.0}


def test_layer_norm_in_float32_has_the_plain_scale():
    discovery = discover(*written.layer_normalised())
    (row,) = (s.evidence for s in discovery.approximate)
    assert row.description == "scale of Dense_0.kernel with its bias"
    assert 1e-7 < row.defect < 1e-3


def test_a_loss_that_is_cut_from_its_gradient():
    """Frozen: training sees other symmetries than the loss has."""
    discovery = discover(*written.frozen())
    (both,) = discovery.exact
    assert both.evidence.generators == discovery.dimension == 3
    (still,) = discovery.of_gradient
    assert still.evidence.blocks == ("first",) and still.evidence.defect > 0.01
    assert still.evidence.kind == "of the gradient, not of the loss"
    (alone,) = discovery.of_loss
    assert set(alone.evidence.blocks) == {"first", "second"}
    assert alone.evidence.defect < 1e-9 < alone.evidence.residual


def test_two_views_with_a_stopped_target():
    """As SimSiam: the projector and the predictor share GL(4) only for the gradient."""
    discovery = discover(*written.simsiam())
    assert discovery.dimension == 3 + 3
    assert sum(s.evidence.generators for s in discovery.of_gradient) == 4**2
    # Turning outputs and targets alike keeps their distance.
    assert sum(s.evidence.generators for s in discovery.of_loss) == 4 * 3 // 2


def test_what_no_example_reaches_is_listed_apart():
    discovery = discover(*written.unexercised())
    texts = {r.description: r.generators for r in discovery.unexercised}
    assert texts == {
        "b[2], which no example reaches": 1,
        "tokens[[5, 6], :], which no example reaches": 2 * 4,
        "v[2, :], which no example reaches": 3,
        "w[:, 2], which no example reaches": 4,
    }
    # Of the units' rescales one is of what is off; shifts of tokens and GL(4) count.
    assert discovery.dimension == 4 + 4 + 4**2
    everything = written.unexercised()
    tokens = np.random.default_rng(0).integers(0, 7, (64, written.T))
    everything.parameters["b"][2] = 0.1
    full = everything._replace(batch=(tokens, everything.batch[1]))
    assert discover(*full).unexercised == ()


def test_the_types_that_a_loss_rounds_to_are_said():
    assert "rounds to bfloat16" in str(discover(*written.mixed()))
    with jax.enable_x64(True):
        double = {"w": jnp.array([1.0, 2.0, 3.0])}
        x = np.linspace(-1.0, 1.0, 24).reshape(8, 3)
        discovery = discover(double, lambda p, x: jnp.mean((x @ p["w"]) ** 2), x)
    assert discovery.short == () and "rounds" not in str(discovery)


def test_a_centred_stream_turns_around_the_vector_of_ones():
    """R^T A R for antisymmetric A with A 1 = 0: (D-1)(D-2)/2 of them."""
    width, hidden, tokens, outputs = 5, 4, 7, 3
    x = np.random.default_rng(0).integers(0, tokens, (64, 2))

    def forward(p, x, centred=True):
        norm = written.layer_norm if centred else lambda h: h + 0.1 * h**3
        h = p["tokens"][x]
        h = h + jax.nn.relu(norm(h) @ p["up"]) @ p["down"]
        return jnp.tanh(norm(h) @ p["head"]).mean(1)

    parameters = written.arrays(
        tokens=(tokens, width),
        up=(width, hidden),
        down=(hidden, width),
        head=(width, outputs),
    )
    case = written.regression(forward, parameters, x, (64, outputs))
    discovery = discover(*case)
    turns = [s for s in discovery if s.name == "rotation"]
    (turn,) = (s.evidence for s in turns)
    assert turn.generators == (width - 1) * (width - 2) // 2
    assert "rotation that keeps the mean" in turn.description
    assert set(turn.blocks) == set(parameters)
    # What is written into the stream may shift, what is read from it as well.
    shifts = tokens + hidden + hidden + outputs
    assert discovery.dimension == turn.generators + shifts + hidden
    # A control: units that are not read by their size alone do not turn.
    other = case._replace(
        loss=lambda p, b: written.squares(forward(p, b[0], False), b[1])
    )
    assert not any(s.name == "rotation" for s in discover(*other))


def test_rows_and_columns_of_one_array_shift_once_together():
    """Eight rows and eight columns span 15 directions: both as a whole are the same."""

    def forward(p, x):
        m = p["m"] - p["m"].mean(0) - p["m"].mean(1, keepdims=True) + p["m"].mean()
        return jnp.tanh(x @ m)

    x = written.numbers(64, 8)
    discovery = discover(
        *written.regression(forward, written.arrays(m=(8, 8)), x, (64, 8))
    )
    assert sum(s.evidence.generators for s in discovery) == 16
    assert discovery.dimension == 15 and "(of 16 listed" in str(discovery)
    assert discovery.census.missing == 0
