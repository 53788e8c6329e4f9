"""What `discover` refuses, and what it says then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.discover.discovery import discover
from lagrangian.learning.discover.families import EXTRA, SURPLUS, sample
from lagrangian.learning.discover.tracing import make_probe

X = np.linspace(-1.0, 1.0, 24).reshape(8, 3)
Q = {"w": np.array([1.0, 2.0, 3.0])}


def linear(q, x):
    return jnp.mean((x @ q["w"]) ** 2)


def refuse(match, model=Q, loss=linear, batch=X):
    with pytest.raises(lg.LagrangianError, match=match):
        discover(model, loss, batch)


def test_parameters_that_are_no_real_floats():
    refuse("`count` is int64", {"w": Q["w"], "count": np.arange(3)})
    refuse("`w` is complex128", {"w": Q["w"] * 1j})
    refuse("has no parameters", {})

    class Nothing(nnx.Module):
        pass

    refuse("a Nothing, has no parameters", Nothing())


def test_losses_that_are_no_differentiable_scalars():
    refuse("must return a scalar", loss=lambda q, x: x @ q["w"])
    refuse("`loss` is nan", loss=lambda q, x: jnp.log(-jnp.sum(q["w"] ** 2)))
    refuse("zero everywhere", loss=lambda q, x: jnp.argmax(x @ q["w"]) * 1.0)
    refuse(
        "gradient of `loss` by `w` is not finite",
        loss=lambda q, x: jnp.sum(jnp.sqrt(q["w"] * 0.0)),
    )


def test_a_loss_that_draws_random_numbers_outside_the_model():
    generator = np.random.default_rng(0)
    refuse(
        "another value when it is called again.*nnx.Rngs",
        loss=lambda q, x: jnp.mean(x @ q["w"] * generator.normal()),
    )


def test_what_a_loss_takes_from_outside():
    rngs = nnx.Rngs(0)
    refuse(
        "an `nnx.Rngs` from outside.*self.rngs",
        loss=lambda q, x: linear(q, x) * jax.random.normal(rngs.noise()),
    )
    refuse(
        "`axis_name=None`.*devices",
        loss=lambda q, x: jax.lax.pmean(linear(q, x), "devices"),
    )


@pytest.mark.parametrize("channels", [2, 32])
def test_taps_that_are_never_used_are_no_symmetry(channels):
    """A kernel of 3 x 3 on images of 1 x 1, whose shifts would have no gradient."""

    def convolved(q, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x[:, None, None], q["k"], (1, 1), "SAME", dimension_numbers=numbers
        )
        return jnp.mean(jnp.tanh(y) ** 2 + y)

    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, channels))
    discovery = discover({"k": kernel}, convolved, X)
    (row,) = discovery.unexercised
    assert row.generators == 8 * 3 * channels and discovery.dimension == 0
    assert "nothing can be said" in discovery.explain(row)


def test_dropout_of_the_model_is_supported():
    class Dropped(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 6, rngs=rngs)
            self.dropout = nnx.Dropout(0.3, rngs=rngs)
            self.second = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x):
            return self.second(self.dropout(nnx.relu(self.first(x))))

    model = Dropped(nnx.Rngs(0))
    discovery = discover(model, lambda m, x: jnp.mean(m(x) ** 2), X)
    # A mean of squares does not see a rotation of the two outputs, either.
    found = {s.name: s.evidence.generators for s in discovery}
    assert found == {"rescale": 6, "rotation": 1}


def test_draws_are_double_and_depend_on_the_seed():
    with jax.enable_x64(True):
        probe = make_probe(Q, linear, X.astype(np.float32))
        (one, rows), (two, _) = probe.draws(2, seed=3)
        (same, _) = next(probe.draws(1, seed=3))
        assert rows[0].dtype == np.float64 and rows[0].shape == X.shape
        np.testing.assert_array_equal(one["w"], same["w"])
        assert np.abs(one["w"] - two["w"]).min() > 0
        gradient = probe.gradient(one, rows)["w"]
        exact = 2 * np.mean((X @ one["w"])[:, None] * X, axis=0)
        np.testing.assert_allclose(gradient, exact / np.linalg.norm(exact), rtol=1e-6)


def test_a_batch_without_a_common_axis_is_used_whole():
    with jax.enable_x64(True):
        probe = make_probe(
            Q, lambda q, b: jnp.mean((b[0] @ q["w"]) ** 2) * b[1], (X, np.float64(2.0))
        )
        _, (rows, factor) = next(probe.draws(1, seed=0))
        assert rows.shape == X.shape and factor == 2.0


def test_types_below_float64_are_said_and_evaluated_in_float64():
    def short(q, x):
        return jnp.mean((x @ q["w"]).astype(jnp.bfloat16) ** 2)

    def masked(q, x):
        mask = jnp.ones(3, jnp.float32)  # exact in any type
        return jnp.mean((x @ (q["w"] * mask)) ** 2)

    with jax.enable_x64(True):
        for loss in (short, jax.checkpoint(short), jax.jit(short)):
            probe = make_probe(Q, loss, X)
            assert probe.short[0] == "bfloat16" and probe.rounding < 1e-9
            value = float(probe.value(probe.parameters, [X]))
            assert value == pytest.approx(float(linear(Q, X)), rel=1e-13)
        assert make_probe(Q, masked, X).short == ()


def test_what_cannot_be_evaluated_in_float64_is_judged_by_its_own_rounding():
    """`bitcast` reads the bits of a float32; its gradient is that of a custom rule."""

    @jax.custom_jvp
    def through_bits(x):
        bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32)
        return jax.lax.bitcast_convert_type(bits, jnp.float32).astype(x.dtype)

    through_bits.defjvp(lambda x, t: (through_bits(*x), t[0]))
    with jax.enable_x64(True):
        probe = make_probe(Q, lambda q, x: linear(q, through_bits(x)), X)
        assert probe.rounding > 1e-8
    discovery = discover(Q, lambda q, x: linear(q, through_bits(x)), X)
    assert "cannot be evaluated in float64" in str(discovery)


def test_a_number_in_the_batch_stays_a_python_number():
    discovery = discover(Q, lambda q, b: linear(q, b[0][:, : b[1]]), (X, 3))
    assert discovery.dimension == 0


def test_what_a_loss_returns_beside_its_value_is_left_out():
    plain, more = (
        discover(Q, loss, X) for loss in (linear, lambda q, x: (linear(q, x), x))
    )
    assert more.dimension == plain.dimension
    refuse("returns 2 arrays", loss=lambda q, x: [linear(q, x), x])


def ragged(q, x):
    """Kinked, and curved more than a difference of values sees."""
    return jnp.mean(jax.nn.relu(jnp.sin(1e4 * (x @ q["w"]))))


def cut(q, x):
    return ragged(q, x) * jax.lax.stop_gradient(jnp.sum(q["w"] ** 2))


@pytest.mark.parametrize(("loss", "detached"), [(ragged, False), (cut, True)])
def test_a_cut_gradient_is_told_from_one_with_kinks(loss, detached):
    with jax.enable_x64(True):
        assert make_probe(Q, loss, X).is_detached == detached


def test_every_level_gets_the_draws_that_it_needs_and_no_more():
    layers = {f"w{i}": np.ones((3, 3)) for i in range(6)}

    def loss(layers, x):
        for layer in layers.values():
            x = jnp.tanh(x @ layer)
        return jnp.mean(x**2)

    with jax.enable_x64(True):
        probe = make_probe(layers, loss, X)
        sums = sample(probe, [probe.gradient], 0).sums
    levels = {term.level: [t for t in sums if t.level == term.level] for term in sums}
    for (_, units), terms in levels.items():
        draws, sampled = sums[terms[0]].shape
        assert draws * sampled > SURPLUS * len(terms)
        assert (draws - EXTRA - 1) * np.prod(units, initial=1) < SURPLUS * len(terms)
    assert len({sums[terms[0]].shape[0] for terms in levels.values()}) > 1
