"""Mirrors and permutations of units: what they fix, and which rules keep that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.networks.networks import Perceptron

INTO = lg.blocks("layers.0.kernel layers.0.bias", unit_axis=-1)
OUT = lg.blocks("layers.1.kernel", unit_axis=0)


def network(activation=nnx.tanh):
    with jax.enable_x64(True):
        return Perceptron(
            (5, 4, 3), nnx.Rngs(0), activation=activation, param_dtype=jnp.float64
        )


def data(seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(20, 5)), generator.normal(size=(20, 3))


def loss(model, batch):
    inputs, targets = batch
    return ((model(inputs) - targets) ** 2).mean()


def dense_hessian(model, network_loss):
    graph, state = nnx.split(model)
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(state)
        return np.asarray(
            jax.hessian(lambda v: network_loss(nnx.merge(graph, unravel(v)), data()))(
                flat
            )
        )


@given(st.permutations(range(5)))
@settings(max_examples=25, deadline=None)
def test_a_permutation_by_its_definition(order):
    symmetry = lg.Permutation(order, lg.blocks("w", unit_axis=-1))
    model = {"w": np.arange(10.0).reshape(2, 5), "other": np.ones(3)}
    np.testing.assert_array_equal(symmetry(model)["w"], model["w"][:, order])
    moved = model
    for _ in range(symmetry.order):
        moved = symmetry(moved)
    np.testing.assert_allclose(moved["w"], model["w"])
    # The rank of the projector, by linear algebra instead of characters.
    rank = np.linalg.matrix_rank(symmetry.kept)
    assert symmetry.fixed_dimension(model) == 2 * rank + 3
    np.testing.assert_allclose(symmetry.kept @ symmetry.kept, symmetry.kept, atol=1e-15)


@pytest.mark.parametrize(
    "symmetry",
    [
        lg.Permutation([1, 2, 0, 3], *INTO, OUT),
        lg.Reflection([1, 0, 0, 0], *INTO, OUT),
        lg.Reflection([0, 1, -1, 0], *INTO, OUT),
    ],
    ids=["permutation", "sign", "swap"],
)
def test_symmetries_of_tanh_units(symmetry):
    model = network()
    assert symmetry.defect(model, loss, data()) < 1e-14
    assert float(symmetry.distance(symmetry.fixed(model))) < 1e-15
    assert float(symmetry.distance(model)) > 0.1


def test_sigmoids_are_not_odd():
    mirror = lg.Reflection([1, 0, 0, 0], *INTO, OUT)
    assert mirror.defect(network(activation=nnx.sigmoid), loss, data()) > 1e-3


def test_a_mirror_without_its_bias_is_none():
    model = network()
    with jax.enable_x64(True):
        model.layers[0].bias[...] = 1 + jnp.arange(4.0)
    kernel = INTO[0]
    assert lg.Reflection([1, 0, 0, 0], kernel, OUT).defect(model, loss, data()) > 1e-3


def test_a_reflection_keeps_its_plane_and_turns_its_normal():
    normal = np.array([3.0, 4.0])
    mirror = lg.Reflection(normal, lg.blocks("w", unit_axis=0))
    turned = mirror({"w": np.stack([normal, normal[::-1] * [1, -1]], axis=1)})["w"]
    np.testing.assert_allclose(turned[:, 0], -normal, atol=1e-6)
    np.testing.assert_allclose(turned[:, 1], [4, -3], atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "any_mirror"),
    [
        (lg.HeavyBall(0.1), True),
        (lg.HeavyBall(0.1, 0.9, 0.01), True),
        (lg.Adam(0.1), False),
        (lg.RMSProp(0.1), False),
        (lg.Lion(0.1), False),
    ],
)
def test_which_rules_commute(rule, any_mirror):
    model = network()
    assert lg.Permutation([1, 0, 3, 2], *INTO, OUT).commutes_with(rule, model)
    assert lg.Reflection([0, 1, 0, 0], *INTO, OUT).commutes_with(rule, model)
    oblique = lg.Reflection([1, 2, 3, 4], *INTO, OUT)
    assert oblique.commutes_with(rule, model) == any_mirror


@pytest.mark.parametrize(
    "symmetry",
    [
        lg.Permutation([1, 2, 0, 3], *INTO, OUT),
        lg.Reflection([0, 1, -1, 0], *INTO, OUT),
    ],
    ids=["permutation", "swap"],
)
def test_the_odd_block_against_the_dense_hessian(symmetry):
    model = symmetry.fixed(network())
    block = symmetry.odd_block(model, loss, data())
    hessian = dense_hessian(model, loss)
    size = len(hessian)
    with jax.enable_x64(True):
        odd = np.stack([block._odd(jnp.asarray(e)) for e in np.eye(size)], axis=1)
    assert round(np.trace(odd)) == block.dimension
    assert block.mixing() < 1e-12
    projected = odd @ hessian @ odd
    vector = np.random.default_rng(0).normal(size=size)
    np.testing.assert_allclose(block.times(vector), projected @ vector, atol=1e-10)
    # The odd space alone: zeros of the other one are moved away.
    expected = np.linalg.eigvalsh(projected + 1e3 * (np.eye(size) - odd))[:2]
    values, directions = block.lowest(2)
    np.testing.assert_allclose(values, expected, atol=1e-9)
    for value, direction in zip(values, directions, strict=True):
        np.testing.assert_allclose(projected @ direction, value * direction, atol=1e-7)


def test_off_the_plane_the_hessian_mixes():
    symmetry = lg.Permutation([1, 0, 2, 3], *INTO, OUT)
    assert symmetry.odd_block(network(), loss, data()).mixing() > 1e-3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: lg.Reflection([0, 0], lg.blocks("w", unit_axis=0)), "`normal`"),
        (lambda: lg.Reflection([[1, 0]], lg.blocks("w", unit_axis=0)), "`normal`"),
        (lambda: lg.Reflection([np.nan, 0], lg.blocks("w", unit_axis=0)), "`normal`"),
        (lambda: lg.Permutation([0, 0], lg.blocks("w", unit_axis=0)), "`order`"),
        (lambda: lg.Permutation([1, 2], lg.blocks("w", unit_axis=0)), "`order`"),
        (lambda: lg.Permutation([1, 0], lg.blocks("w")), "unit axis"),
        (lambda: lg.Permutation([1, 0]), "`blocks`"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(lg.InvalidSymmetry, match=said):
        make()


def test_units_that_do_not_fit_are_refused():
    swap = lg.Permutation([1, 0], lg.blocks("w", unit_axis=-1))
    with pytest.raises(lg.InvalidSymmetry, match="`w`.*3 along"):
        swap({"w": np.ones((2, 3))})
    with pytest.raises(lg.UnknownBlock, match="`w`"):
        swap({"v": np.ones((2, 2))})
