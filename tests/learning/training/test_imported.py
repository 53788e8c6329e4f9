"""Runs of other programs: PyTorch's rules written out in NumPy, and certified."""

import numpy as np
import optax
import pytest

import lagrangian as lg

X = np.random.default_rng(0).normal(size=(150, 16, 4))
W1, B1 = lg.blocks("layers.0.weight layers.0.bias", unit_axis=0)
W2 = lg.blocks("layers.2.weight", unit_axis=1)
#: Units of a ReLU layer in PyTorch's order (out, in), and the shift of what follows.
RESCALE = lg.Rescale([W1, B1], W2)
BROKEN = lg.Scale("layers.2.weight")
LAWS = [RESCALE, BROKEN]


def gradients(q, x):
    """Of mean((relu(x W1' + b1) W2' + b2 - target)^2), by hand."""
    before = x @ q["layers.0.weight"].T + q["layers.0.bias"]
    hidden = np.maximum(before, 0)
    out = hidden @ q["layers.2.weight"].T + q["layers.2.bias"]
    gap = out - np.sin(x[:, :3])
    back = 2 * gap / gap.size
    through = (back @ q["layers.2.weight"]) * (before > 0)
    return np.mean(gap**2), {
        "layers.0.weight": through.T @ x,
        "layers.0.bias": through.sum(0),
        "layers.2.weight": back.T @ hidden,
        "layers.2.bias": back.sum(0),
    }


def sgd(nesterov=False, lr=0.05, momentum=0.9, decay=1e-3):
    """`torch.optim.SGD`, as its documentation has it."""
    buffers = {}

    def step(k, name, q, g):
        g = g + decay * q
        buffers[name] = momentum * buffers[name] + g if k else g
        return -lr * (g + momentum * buffers[name] if nesterov else buffers[name])

    return step


def adamw(lr=1e-2, b1=0.9, b2=0.999, eps=1e-8, decay=0.1):
    """`torch.optim.AdamW`, as its documentation has it."""
    means, squares = {}, {}

    def step(k, name, q, g):
        means[name] = b1 * means.get(name, 0) + (1 - b1) * g
        squares[name] = b2 * squares.get(name, 0) + (1 - b2) * g**2
        mean, square = (
            means[name] / (1 - b1 ** (k + 1)),
            squares[name] / (1 - b2 ** (k + 1)),
        )
        return -lr * decay * q - lr * mean / (np.sqrt(square) + eps)

    return step


def recorded(step, dtype=np.float64, steps=150, push=0.0):
    generator = np.random.default_rng(1)
    shapes = {
        "layers.0.weight": (6, 4),
        "layers.0.bias": (6,),
        "layers.2.weight": (3, 6),
        "layers.2.bias": (3,),
    }
    q = {name: generator.normal(size=s).astype(dtype) for name, s in shapes.items()}
    arrays = {"losses": []}
    for k in range(steps):
        value, gradient = gradients(q, X[k].astype(dtype))
        arrays["losses"].append(value)
        for name, g in gradient.items():
            arrays.setdefault(f"parameters/{name}", []).append(q[name])
            arrays.setdefault(f"gradients/{name}", []).append(g.astype(dtype))
            moved = step(k, name, q[name], g) + push * np.cos(3 * q[name])
            q[name] = (q[name] + moved).astype(dtype)
    for name in q:
        arrays[f"parameters/{name}"].append(q[name])
    return {key: np.array(value) for key, value in arrays.items()}


RULES = {
    "sgd": (sgd, lg.HeavyBall(0.05, 0.9, 1e-3)),
    "nesterov": (lambda: sgd(True), lg.HeavyBall(0.05, 0.9, 1e-3, nesterov=True)),
    "an optax chain": (
        sgd,
        optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.05, momentum=0.9)),
    ),
    "adamw": (adamw, lg.Adam(1e-2, weight_decay=0.1)),
    "none": (adamw, None),
}


@pytest.mark.parametrize("name", RULES)
def test_a_run_of_pytorch_is_certified(name, tmp_path):
    make, rule = RULES[name]
    arrays = recorded(make())
    np.savez(tmp_path / "run.npz", **arrays)
    run = lg.imported(tmp_path / "run.npz", LAWS, rule)
    assert run.steps == 150
    np.testing.assert_array_equal(run.losses, arrays["losses"])
    kept, broken = lg.check(run)
    assert kept.holds and kept.discrete < 1e-13, kept
    assert broken.verdict == "symmetry absent"
    if name == "sgd":
        assert kept.continuous < 0.05
    if rule is None:
        assert "no rule was named by which the run was made" in kept.reason


def test_a_run_in_single_precision():
    run = lg.imported(recorded(sgd(), np.float32), LAWS, RULES["sgd"][1])
    assert run.dtype == np.float32 and lg.check(run)[0].holds


@pytest.mark.parametrize(
    "made, rule",
    [
        (sgd(momentum=0.8), lg.HeavyBall(0.05, 0.9, 1e-3)),
        (sgd(lr=0.04), lg.HeavyBall(0.05, 0.9, 1e-3)),
        (sgd(decay=1e-2), lg.HeavyBall(0.05, 0.9, 1e-3)),
        (sgd(True), optax.sgd(0.05, momentum=0.9)),
    ],
)
def test_a_run_of_another_rule_is_refuted(made, rule):
    (kept, _) = lg.check(lg.imported(recorded(made), LAWS, rule))
    assert kept.verdict == "law fails" and "was not made by" in kept.reason


def test_gradients_without_the_symmetry_are_refuted():
    arrays = recorded(sgd())
    arrays["gradients/layers.0.bias"] = arrays["gradients/layers.0.bias"] + 0.1
    assert lg.check(lg.imported(arrays, LAWS))[0].verdict == "symmetry absent"


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"gradients/layers.0.bias": None},
            "needs both `parameters/layers.0.bias`",
        ),
        ({"weights/a": np.ones(3)}, "`weights/a` is none of `parameters/NAME`"),
        ({"losses": np.ones(3)}, r"`losses` has shape \(3,\), and there are 150 steps"),
        ({"losses": np.ones(150, int)}, "`losses` is of dtype int64"),
        ({"gradients/layers.0.bias": np.ones((150, 5))}, r"and \(150, 6\) is wanted"),
        ({"updates/layers.0.bias": np.ones((150, 6))}, "not moved by .* in step 0"),
        ({"updates/other": np.ones((150, 6))}, "has no `parameters/other`"),
    ],
)
def test_mistakes_are_named(change, message):
    arrays = recorded(sgd()) | change
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(lg.LagrangianError, match=message):
        lg.imported(arrays, LAWS)
