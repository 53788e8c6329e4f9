"""Symmetries that are known in closed form are found, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.discover.discovery import discover
from lagrangian.lowering.evaluate import evaluate
from lagrangian.networks.digits import ConvolutionalNetwork
from lagrangian.networks.networks import (
    ConvolutionalClassifier,
    Perceptron,
    ResidualNetwork,
    TiedAutoencoder,
    Transformer,
    mean_square,
)
from lagrangian.symbolic.algebra.blocks import ones

#: A finite transformation of an exact symmetry leaves this much of the loss's change.
LEFT = 1e-11


def found(discovery):
    """What was found as {description: (generators, kind)}."""
    return {r.description: (r.generators, r.kind) for r in discovery.rows}


def assert_proved(discovery):
    """Every exact row by its finite transformation and by its gap."""
    assert len(discovery) > 0
    for row in discovery.rows:
        if row.kind == "exact":
            assert row.defect < LEFT and row.residual < discovery.rounding, row
            assert row.zero < discovery.rounding < 1e-8 < row.nonzero, row


# ------------------------------------------------------------------ counted otherwise


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda d: d(Perceptron, [2, 2, 2], activation=None, use_bias=False), 4),
        (lambda d: d(Perceptron, [2, 2, 2], activation=None), 6),
        (lambda d: d(Perceptron, [2, 2, 2]), 2),
        (lambda d: d(Perceptron, [2, 2, 2], activation=nnx.leaky_relu), 2),
        (lambda d: d(Perceptron, [2, 2, 2], activation=nnx.gelu), 0),
        (lambda d: d(Perceptron, [2, 2, 2], normalisation="weight"), 5),
        (lambda d: d(TiedAutoencoder, inputs=2, hidden=2), 0),
    ],
    ids=["linear", "affine", "relu", "leaky", "gelu", "weight norm", "tied"],
)
def test_the_count_is_that_of_all_affine_generators(
    build, expected, double, dense_dimension
):
    """GL(h): h^2; with a bias h shifts more; a homogeneous unit: one each.

    The same number comes out of linear algebra on all of A and b, without an ansatz.
    """
    inputs = np.random.default_rng(1).normal(size=(32, 2))
    batch = inputs, np.tanh(inputs[:, ::-1] + 0.3)
    model = build(double)
    discovery = discover(model, mean_square, batch)
    assert discovery.dimension == expected
    assert dense_dimension(model, mean_square, batch) == expected


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(6, 5, 4), (6, 3, 7)])
def test_two_linear_layers_have_the_whole_of_gl(inputs, hidden, outputs, double):
    batch = (
        np.random.default_rng(0).normal(size=(32, inputs)),
        np.random.default_rng(1).normal(size=(32, outputs)),
    )
    sizes = [inputs, hidden, outputs]
    model = double(Perceptron, sizes, activation=None, use_bias=False)
    discovery = discover(model, mean_square, batch)
    assert discovery.dimension == hidden**2
    parts = {row.family: row.generators for row in discovery.rows}
    assert parts == {
        "rescale": hidden,
        "general linear (symmetric)": hidden * (hidden - 1) // 2,
        "rotation": hidden * (hidden - 1) // 2,
    }
    assert_proved(discovery)


def test_a_linear_network_of_depth_four(double, cross_entropy, vectors):
    sizes = [6, 8, 5, 4, 3]
    model = double(Perceptron, sizes, activation=None, use_bias=False)
    discovery = discover(model, cross_entropy, vectors)
    # And softmax does not see a shift of a row of the last kernel.
    listed = sum(row.generators for row in discovery.rows)
    assert listed == 8**2 + 5**2 + 4**2 + 4
    # At a point, matrices of 8 x 8 that fix all six rows of the first kernel and act on
    # the second along what it does not read move nothing: (8 - 6) x (8 - 5) of them.
    assert discovery.dimension == listed - 2 * 3
    # The product of all has 6 x 3 entries of which softmax sees 6 x 2. What else keeps
    # it is no linear symmetry: five directions that depend on the point.
    assert discovery.census.directions == 6 * 8 + 8 * 5 + 5 * 4 + 4 * 3 - 6 * 2
    assert discovery.census.missing == 5 and "Not all" in str(discovery)
    assert_proved(discovery)


# ------------------------------------------------------------------ fully connected


@pytest.mark.parametrize("activation", [nnx.relu, nnx.leaky_relu])
def test_homogeneous_units_rescale_and_softmax_shifts(
    activation, cross_entropy, vectors
):
    model = Perceptron([6, 8, 5, 3], nnx.Rngs(0), activation=activation)
    discovery = discover(model, cross_entropy, vectors)
    assert found(discovery) == {
        "rescale layers.0 unit k against layers.1 row k": (8, "exact"),
        "rescale layers.1 unit k against layers.2 row k": (5, "exact"),
        "shift of layers.2.kernel[k, ...]": (5, "exact"),
        "shift of layers.2.bias": (1, "exact"),
    }
    assert_proved(discovery)


def test_gelu_does_not_rescale(cross_entropy, vectors):
    """It roughly does; too roughly for a law. What is asked for has its defect."""
    model = Perceptron([6, 8, 5, 3], nnx.Rngs(0), activation=nnx.gelu)
    units = lg.Rescale(
        list(lg.blocks("layers.0.kernel layers.0.bias", unit_axis=-1)),
        lg.blocks("layers.1.kernel", unit_axis=0),
    )
    discovery = discover(model, cross_entropy, vectors, candidates=[units])
    assert [s.name for s in discovery] == ["translation", "translation"]
    assert discovery.approximate == () and "approximate below 3e-02" in str(discovery)
    (row,) = discovery.tested
    assert row.kind == "absent" and 0.04 < row.residual and 0.01 < row.defect < 0.6


def test_the_epsilon_of_a_normalisation_is_measured(double, cross_entropy, vectors):
    def scales(epsilon):
        model = double(Perceptron, [6, 8, 5, 3], normalisation="batch", epsilon=epsilon)
        discovery = discover(model, cross_entropy, vectors)
        assert_proved(discovery)
        rows = [r for r in discovery.rows if r.family == "scale"]
        assert [r.generators for r in rows] == [8, 5]
        return discovery, rows

    exact, rows = scales(1e-20)
    assert {r.kind for r in rows} == {"exact"}
    # Both kernels' scales, both rescales against what follows, biases, softmax.
    assert exact.dimension == (8 + 5) + (8 + 5) + (8 + 5) + (5 + 1)
    assert [s.evidence.blocks for s in exact.unused] == [
        ("layers.0.bias",),
        ("layers.1.bias",),
    ]
    _, small = scales(1e-6)
    _, large = scales(1e-4)
    for one, other in zip(small, large, strict=True):
        assert one.kind == other.kind == "approximate"
        assert 30 < other.residual / one.residual < 300
        assert 30 < other.defect / one.defect < 300


def test_an_epsilon_of_a_tenth_leaves_no_scale(double, cross_entropy, vectors):
    model = double(Perceptron, [6, 8, 5, 3], normalisation="batch", epsilon=0.1)
    scale = lg.Scale("layers.0.kernel", unit_axis=-1)
    discovery = discover(model, cross_entropy, vectors, candidates=[scale])
    assert all(s.name != "scale" for s in discovery)
    (row,) = discovery.tested
    assert row.kind != "exact" and row.residual > 1e-3 and row.defect > 1e-3


def test_weight_normalisation(cross_entropy, vectors):
    model = Perceptron([6, 8, 5, 3], nnx.Rngs(0), normalisation="weight")
    discovery = discover(model, cross_entropy, vectors)
    assert found(discovery) == {
        "scale of layers.0.kernel[..., k]": (8, "exact"),
        "scale of layers.1.kernel[..., k]": (5, "exact"),
        "scale of layers.2.kernel[..., k]": (3, "exact"),
        "rescale layers.0.scale with its bias against layers.1.scale": (1, "exact"),
        "rescale layers.1.scale with its bias against layers.2.scale": (1, "exact"),
        "shift of layers.2.bias": (1, "exact"),
    }
    assert_proved(discovery)


# ------------------------------------------------------------------ convolutions


SHARED_ROWS = {
    "rescale norm2.scale[k] with its bias against dense row k": (8, "exact"),
    "rescale norm1.scale[k] with its bias against conv2.kernel[..., k, :]": (
        8,
        "exact",
    ),
    "shift of dense.kernel[k, ...]": (8, "exact"),
    "shift of dense.bias": (1, "exact"),
}
NORMALISED_ROWS = {
    "batch": {
        "scale of conv1.kernel[..., k]": (8, "approximate"),
        "scale of conv2.kernel[..., k]": (8, "approximate"),
        "shift of conv1.bias[k], which the loss does not depend on": (8, "exact"),
        "shift of conv2.bias[k], which the loss does not depend on": (8, "exact"),
    },
    "group": {
        "scale of conv1.kernel[..., 4k:4k+4] with its bias": (2, "approximate"),
        "scale of conv2.kernel[..., 4k:4k+4] with its bias": (2, "approximate"),
        "shift of conv1.bias[4k:4k+4]": (2, "exact"),
        "shift of conv2.bias[4k:4k+4]": (2, "exact"),
    },
    "layer": {
        "scale of conv1.kernel with its bias": (1, "approximate"),
        "scale of conv2.kernel with its bias": (1, "approximate"),
        "shift of conv1.kernel[k1, k2, ...]": (9, "exact"),
        "shift of conv2.kernel[k1, k2, k3, ...]": (72, "exact"),
        "shift of conv1.bias": (1, "exact"),
        "shift of conv2.bias": (1, "exact"),
    },
}


@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
def test_a_convolutional_network(kind, cross_entropy, images):
    """Which units share a scale, and a shift, is what the normalisation averages."""
    model = ConvolutionalClassifier(nnx.Rngs(0), kind)
    discovery = discover(model, cross_entropy, images)
    assert found(discovery) == SHARED_ROWS | NORMALISED_ROWS[kind]
    assert_proved(discovery)


def test_a_flattened_image_and_a_float32_network(cross_entropy, images):
    """The rows of the last kernel that read one channel lie channels apart."""
    model = ConvolutionalNetwork(nnx.Rngs(0), channels=(3, 4))
    discovery = discover(model, cross_entropy, images)
    # It computes in float32; what leaves the loss alone does not depend on that.
    assert discovery.rounding < 1e-9 and discovery.short == ("float32",)
    assert found(discovery) == {
        "scale of conv1.kernel[..., k]": (3, "exact"),
        "scale of conv2.kernel[..., k]": (4, "exact"),
        "rescale norm1.scale[k] with its bias against conv2.kernel[..., k, :]": (
            3,
            "exact",
        ),
        "rescale norm2.scale[k] with its bias against dense.kernel[k::4, ...]": (
            4,
            "exact",
        ),
        "shift of dense.kernel[k, ...]": (64, "exact"),
        "shift of dense.bias": (1, "exact"),
    }


# ------------------------------------------------------------------ ties


def test_skip_connections_tie_scales(cross_entropy, vectors):
    discovery = discover(ResidualNetwork(nnx.Rngs(0)), cross_entropy, vectors)
    rows = {frozenset(r.blocks): r for r in discovery.rows}
    writers = {f"{n}.{w}" for n in ("embed", "second.0", "second.1") for w in _LAYER}
    readers = {"first.0.kernel", "first.1.kernel", "head.kernel"}
    stream = rows[frozenset(writers | readers)]
    assert stream.kind == "exact" and stream.generators == 5
    # The hidden units of each block are free; no other rescale is.
    rescales = [r for r in discovery.rows if r.family == "rescale"]
    assert sorted(r.generators for r in rescales) == [5, 7, 7]
    assert_proved(discovery)


_LAYER = ("kernel", "bias")


def test_a_symmetry_of_part_of_a_tie_is_absent(cross_entropy, vectors):
    first = lg.blocks("embed.kernel embed.bias", unit_axis=-1)
    second = lg.blocks("first.0.kernel", unit_axis=0)
    untied = lg.Rescale(list(first), second)
    discovery = discover(
        ResidualNetwork(nnx.Rngs(0)), cross_entropy, vectors, candidates=[untied]
    )
    (row,) = discovery.tested
    assert row.kind == "absent" and row.defect > 0.05


def test_tied_weights_do_not_get_the_untied_symmetries(double):
    inputs = np.random.default_rng(0).normal(size=(32, 6))
    tied = discover(double(TiedAutoencoder), mean_square, (inputs, inputs))
    assert len(tied.rows) == 0 and tied.dimension == 0
    untied = discover(double(Perceptron, [6, 4, 6]), mean_square, (inputs, inputs))
    assert untied.dimension == 4


# ------------------------------------------------------------------ transformers

#: Found in each: value and output, query and key, head by head; a relu layer; softmax.
ATTENTION = {
    frozenset({"attention.0.value", "attention.0.out"}),
    frozenset({"attention.0.query", "attention.0.key"}),
}


def layers(row):
    return frozenset(path.rpartition(".")[0] for path in row.blocks)


@pytest.mark.parametrize(
    ("kind", "order"),
    [("layer", "pre"), ("layer", "post"), ("rms", "pre"), ("tanh", "pre")],
)
def test_a_transformer(kind, order, cross_entropy, tokens):
    model = Transformer(nnx.Rngs(0), kind, order)
    discovery = discover(model, cross_entropy, tokens)
    assert_proved(discovery)
    exact = [r for r in discovery.rows if r.kind == "exact"]
    for pair in ATTENTION:
        parts = {r.family: r.generators for r in exact if layers(r) == pair}
        # GL(4) for both heads: 16 each.
        parts.pop("translation", None)
        assert parts == {
            "rescale": 8,
            "general linear (symmetric)": 12,
            "rotation": 12,
        }
    hidden = [r for r in exact if layers(r) == {"first.0", "second.0"}]
    assert [(r.family, r.generators) for r in hidden] == [("rescale", 12)]
    # A shift of all that a key gives is not seen by softmax, whatever the query.
    assert [s.evidence.blocks for s in discovery.unused] == [("attention.0.key.bias",)]
    texts = found(discovery)
    key, query = (
        f"attention.0.{name}.kernel[..., k1, k2]" for name in ("key", "query")
    )
    mixed = f"symmetric mixing of the units k2, for each k1, of {key}, {query}"
    assert texts[f"{mixed} with its bias"] == (12, "exact")
    assert texts["shift of head.bias"] == (1, "exact")
    assert texts["shift of positions[..., k] against tokens[..., k]"] == (8, "exact")
    stream = [r for r in discovery.rows if {"tokens", "positions"} < set(r.blocks)]
    (scale,) = [r for r in stream if r.generators == 1]
    if kind == "tanh":
        # No normalisation: the scale of the stream only against the slopes, exactly.
        assert scale.kind == "exact" and scale.family == "rescale"
        assert {"norms.0.alpha", "norms.1.alpha", "last_norm.alpha"} < set(scale.blocks)
    else:
        assert scale.kind == "approximate" and scale.defect < 1e-4
    # Subtracting the mean of the stream leaves every written row free to shift.
    centred = "shift of second.0.kernel[k, ...]" in texts
    assert centred == (kind == "layer")


def test_flax_attention_in_float32(cross_entropy, tokens):
    class Attending(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (7, 8)))
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.head = nnx.Linear(8, 7, rngs=rngs)

        def __call__(self, x):
            return self.head(self.attention(self.embed[...][x]))

    discovery = discover(Attending(nnx.Rngs(0)), cross_entropy, tokens)
    assert "the loss itself rounds to float32" in str(discovery)
    assert_proved(discovery)
    pairs = [layers(s.evidence) for s in discovery if s.name == "rotation"]
    assert {frozenset({"attention.query", "attention.key"})} <= set(pairs)


# ------------------------------------------------------------------ candidates


def test_candidates_are_judged_and_controls_fail(cross_entropy, vectors):
    first = lg.blocks("layers.0.kernel layers.0.bias", unit_axis=-1)
    second = lg.blocks("layers.1.kernel", unit_axis=0)
    model = Perceptron([6, 8, 5, 3], nnx.Rngs(0))
    discovery = discover(
        model,
        cross_entropy,
        vectors,
        candidates=[
            lg.Rescale(list(first), second),
            lg.Translation("layers.2.bias"),
            lg.Rescale(first[0], second),  # a ReLU unit without its bias
            lg.Scale("layers.0.kernel", unit_axis=-1),
            lg.Translation("layers.1.bias"),
        ],
    )
    true, shift, *false = discovery.tested
    assert true.kind == shift.kind == "exact"
    assert true.generators == 8 and max(true.defect, shift.defect) < LEFT
    # Without its bias a unit still rescales roughly; the other two do not at all.
    assert [r.kind for r in false] == ["absent"] * 3
    assert min(r.defect for r in false) > 0.01


def test_a_candidate_that_does_not_fit(cross_entropy, vectors):
    model = Perceptron([6, 5, 3], nnx.Rngs(0))

    def judge(symmetry):
        discover(model, cross_entropy, vectors, candidates=[symmetry])

    with pytest.raises(lg.UnknownBlock, match=r"no block `layers.0.kernle`. Nearest"):
        judge(lg.Scale("layers.0.kernle"))
    with pytest.raises(lg.InvalidSymmetry, match="moves more than blocks"):
        judge(lg.TimeTranslation())
    with pytest.raises(lg.InvalidSymmetry, match="has no function here"):
        judge(lg.Rotation("layers.0.kernel", lg.LinearMap("A", parity=-1)))
    with pytest.raises(lg.InvalidSymmetry, match=r"\[3, 5\] units"):
        judge(
            lg.Rescale(
                lg.blocks("layers.0.kernel", unit_axis=-1),
                lg.blocks("layers.1.kernel", unit_axis=-1),
            )
        )


# ------------------------------------------------------------------ into the engine


def test_every_symmetry_of_the_engine_leaves_the_loss(cross_entropy, tokens, double):
    """<grad f, xi> by the engine's own expressions and maps, in a transformer."""
    model = double(Transformer, epsilon=1e-20)
    discovery = discover(model, cross_entropy, tokens)
    with jax.enable_x64(True):
        graph, tree, rest = nnx.split(model, nnx.Param, ...)
        gradient = jax.grad(
            lambda t: cross_entropy(nnx.merge(graph, t, rest, copy=True), tokens)
        )(tree)
        theta, g = _named(tree), _named(gradient)
        for symmetry in discovery:
            values = {b: theta[b.name] for b in symmetry.blocks}
            values |= {ones: jnp.ones(())} | symmetry.maps
            directions = evaluate(symmetry.xi.values(), values)
            pairing, bound = 0.0, 0.0
            for block, direction in zip(symmetry.xi, directions, strict=True):
                terms = g[block.name] * direction
                pairing, bound = pairing + terms.sum(), bound + jnp.abs(terms).sum()
            assert abs(pairing) < 1e-12 * bound, symmetry


def _named(tree):
    from lagrangian.lowering.pytrees import named_leaves

    return named_leaves(tree)


@pytest.mark.parametrize("normalisation", [None, "batch"])
def test_discover_derive_train_check(normalisation, double, cross_entropy, vectors):
    model = double(Perceptron, [6, 8, 5, 3], normalisation=normalisation, epsilon=1e-20)
    rule = lg.HeavyBall(learning_rate=0.02, momentum=0.9, weight_decay=2e-2)
    symmetries = discover(model, cross_entropy, vectors)
    assert symmetries.maps == {}
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    run = lg.train(
        model, cross_entropy, vectors, rule, 300, observe=laws, batch_size=16
    )
    report = lg.check(run, laws)
    assert report.holds, str(report)
    # The same function gives the law of a step.
    steps = [lg.noether(rule.steps(s.loss), s) for s in symmetries]
    assert all(type(law) is lg.Law and law.changes["loss"] == 0 for law in steps)
    # One symmetry of an array is one law with a charge a unit.
    assert [r.units for r in report] == [s.evidence.generators for s in symmetries]
    assert all(np.ptp(run[law].quantity) > 0 for law in laws)


def test_matrix_laws_of_a_linear_network(double, cross_entropy, vectors):
    model = double(Perceptron, [6, 4, 3], activation=None)
    rule = lg.HeavyBall(learning_rate=0.02, momentum=0.9, weight_decay=2e-2)
    symmetries = discover(model, cross_entropy, vectors)
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    run = lg.train(
        model,
        cross_entropy,
        vectors,
        rule,
        300,
        observe=laws,
        batch_size=16,
    )
    for row in lg.check(run, laws):
        assert row.discrete < 1e-12 and row.defect < 1e-12, row
        assert row.holds, row
    families = [s.name for s in symmetries]
    assert {"general linear (symmetric)", "rotation", "rescale"} <= set(families)


# ------------------------------------------------------------------ the rest


def test_a_pytree_of_parameters(vectors):
    """What Linen's `init` returns: nested dictionaries."""
    generator = np.random.default_rng(0)
    parameters = {
        "Dense_0": {"kernel": generator.normal(size=(6, 5)), "bias": np.zeros(5)},
        "Dense_1": {"kernel": generator.normal(size=(5, 2)), "bias": np.zeros(2)},
    }

    def loss(p, batch):
        x = nnx.relu(batch[0] @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
        x = x @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]
        return jnp.mean((x - batch[1][:, None]) ** 2)

    discovery = discover(parameters, loss, vectors)
    assert list(found(discovery)) == ["rescale Dense_0 unit k against Dense_1 row k"]
    (symmetry,) = discovery
    assert discovery[0] is symmetry and len(discovery) == 1
    axes = {b.name: b.unit_axis for b in symmetry.blocks}
    assert axes == {"Dense_0.bias": 0, "Dense_0.kernel": 1, "Dense_1.kernel": 0}


def test_the_model_and_its_state_are_not_changed(double, cross_entropy, vectors):
    model = double(Perceptron, [6, 5, 3], normalisation="batch")
    before = jax.tree.map(np.array, nnx.state(model))
    discover(model, cross_entropy, vectors)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)
    assert model.layers[0].param_dtype == jnp.float64


def test_the_same_seed_gives_the_same_table(cross_entropy, vectors):
    model = Perceptron([6, 5, 3], nnx.Rngs(0))
    first, again, other = (
        discover(model, cross_entropy, vectors, seed=s) for s in (1, 1, 2)
    )
    assert str(first) == str(again) != str(other)
    assert found(first) == found(other)


def test_the_table_prints(cross_entropy, vectors):
    discovery = discover(Perceptron([6, 5, 3], nnx.Rngs(0)), cross_entropy, vectors)
    text, html = str(discovery), discovery._repr_html_()
    assert text.splitlines()[0].split()[:2] == ["symmetry", "generators"]
    assert "rescale layers.0 unit k against layers.1 row k" in text
    assert "rescale layers.0 unit k against" in html
    assert "11 independent generators" in text and html.startswith("<table>")


@pytest.mark.slow
def test_a_million_parameters(cross_entropy, images):
    model = ConvolutionalClassifier(nnx.Rngs(0), "batch", channels=330)
    discovery = discover(model, cross_entropy, images)
    assert discovery.parameters > 9e5
    assert_proved(discovery)
    assert discovery.dimension == 5 * 330 + 1
