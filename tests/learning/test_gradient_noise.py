"""Moments of gradients along a law, against the definition, example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg


def relu_loss(w, batch):
    inputs, targets = batch
    hidden = jax.nn.relu(inputs @ w["first"] + w["bias"])
    return ((hidden @ w["second"] - targets) ** 2).sum(axis=1).mean()


def problem(seed=0, rows=37):
    generator = np.random.default_rng(seed)
    weights = {
        "first": generator.normal(size=(4, 3)),
        "bias": generator.normal(size=3),
        "second": generator.normal(size=(3, 2)),
    }
    return weights, (
        generator.normal(size=(rows, 4)),
        generator.normal(size=(rows, 2)),
    )


UNITS = lg.Rescale(
    lg.blocks("first bias", unit_axis=-1), lg.blocks("second", unit_axis=0)
)


def per_example(weights, data):
    with jax.enable_x64(True):
        slopes = [
            jax.grad(relu_loss)(weights, (data[0][i : i + 1], data[1][i : i + 1]))
            for i in range(len(data[0]))
        ]
    return [{k: np.asarray(v) for k, v in slope.items()} for slope in slopes]


def form(g):
    inward = (g["first"] ** 2).sum(axis=0) + g["bias"] ** 2
    return inward - (g["second"] ** 2).sum(axis=1)


@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
def test_against_every_example(chunk):
    weights, data = problem()
    slopes = per_example(weights, data)
    mean = {k: np.mean([s[k] for s in slopes], axis=0) for k in weights}
    noise = lg.gradient_noise(weights, relu_loss, data, UNITS, chunk=chunk)
    square = np.mean([form(s) for s in slopes], axis=0)
    np.testing.assert_allclose(noise.square, square, rtol=1e-12)
    np.testing.assert_allclose(noise.drift, form(mean), rtol=1e-12)
    np.testing.assert_allclose(noise.trace, square - form(mean), rtol=1e-12)
    assert noise.examples == 37


def test_the_expectation_over_all_batches_of_two():
    """With replacement and without, by listing them all."""
    weights, data = problem(rows=5)
    slopes = per_example(weights, data)
    noise = lg.gradient_noise(weights, relu_loss, data, UNITS)
    for replacement in (True, False):
        forms = [
            form({k: (a[k] + b[k]) / 2 for k in weights})
            for i, a in enumerate(slopes)
            for j, b in enumerate(slopes)
            if replacement or i != j
        ]
        expected = np.mean(forms, axis=0)
        found = noise.batch(2, replacement=replacement)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_a_matrix_group_and_one_example():
    generator = np.random.default_rng(1)
    weights = {
        "first": generator.normal(size=(4, 3)),
        "second": generator.normal(size=(3, 2)),
    }
    data = generator.normal(size=(1, 4)), generator.normal(size=(1, 2))

    def loss(w, batch):
        return ((batch[0] @ w["first"] @ w["second"] - batch[1]) ** 2).mean()

    matrix = generator.normal(size=(3, 3))
    matrix = matrix + matrix.T
    even = lg.ConstantBlock("A", parity=1)
    symmetry = lg.GeneralLinear("first", "second", even)
    noise = lg.gradient_noise(weights, loss, data, symmetry, maps={even: matrix})
    with jax.enable_x64(True):
        g = {k: np.asarray(v) for k, v in jax.grad(loss)(weights, data).items()}
    expected = np.sum(g["first"] * (g["first"] @ matrix)) - np.sum(
        g["second"] * (matrix @ g["second"])
    )
    np.testing.assert_allclose(noise.drift, expected, rtol=1e-10)
    np.testing.assert_allclose(noise.trace, 0, atol=1e-10)


def test_a_step_moves_the_charge_by_it():
    """The mean over all single examples of the exact change, and a control."""
    weights, data = problem()
    eta = 0.1

    def charge(w):
        inward = (w["first"] ** 2).sum(axis=0) + w["bias"] ** 2
        return inward - (w["second"] ** 2).sum(axis=1)

    moved = [
        charge({k: weights[k] - eta * g[k] for k in weights}) - charge(weights)
        for g in per_example(weights, data)
    ]
    noise = lg.gradient_noise(weights, relu_loss, data, UNITS)
    np.testing.assert_allclose(
        np.mean(moved, axis=0), eta**2 * noise.batch(1), rtol=1e-9
    )
    assert not np.allclose(np.mean(moved, axis=0), eta**2 * noise.trace, rtol=1e-3)


def test_refusals():
    weights, data = problem()
    with pytest.raises(lg.LagrangianError, match="`chunk`"):
        lg.gradient_noise(weights, relu_loss, data, UNITS, chunk=0)
    with pytest.raises(lg.LagrangianError, match="`data`"):
        lg.gradient_noise(weights, relu_loss, (data[0], data[1][:3]), UNITS)
    with pytest.raises(lg.UnknownBlock):
        lg.gradient_noise(weights, relu_loss, data, lg.Scale("absent"))


def test_training_with_replacement():
    """Rows come again before an epoch is over; the same seed draws the same."""
    rows = np.arange(8.0)

    def loss(w, batch):
        return jnp.sum(w["w"] * batch)

    def drawn(**options):
        found = lg.train(
            {"w": np.zeros(1)}, loss, rows, lg.HeavyBall(1.0), 8,
            batch_size=1, seed=3, progress=False, **options,
        )  # fmt: skip
        return float(found.model["w"][0])

    assert drawn() == -28.0  # each once
    assert drawn(replacement=True) == drawn(replacement=True) != -28.0
    for bad in ({"batch_size": None}, {"data": iter([rows])}):
        arguments = {"data": rows, "batch_size": 1} | bad
        with pytest.raises(lg.LagrangianError, match="`replacement`"):
            lg.train(
                {"w": np.zeros(1)}, loss, rule=lg.HeavyBall(1.0), steps=1,
                replacement=True, **arguments,
            )  # fmt: skip


def test_recorded_along_a_run():
    """A callback records it; each record is that of the model of its time."""
    weights, data = problem()
    noises, models = [], []

    def record(run):
        noises.append(lg.gradient_noise(run.model, relu_loss, data, UNITS))
        models.append(run.model)

    run = lg.train(
        *(weights, relu_loss, data, lg.HeavyBall(0.01, momentum=0.0), 12),
        **dict(batch_size=8, callback=record, every=4, progress=False),
    )
    assert len(noises) == 3
    for noise, model in zip(noises, models, strict=True):
        slopes = per_example(model, data)
        square = np.mean([form(s) for s in slopes], axis=0)
        np.testing.assert_allclose(noise.square, square, rtol=1e-5)
    last = lg.gradient_noise(run.model, relu_loss, data, UNITS)
    np.testing.assert_array_equal(noises[-1].trace, last.trace)
    assert (noises[0].trace != last.trace).all()
