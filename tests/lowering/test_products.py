"""Inner products by one kernel, against NumPy in double precision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.lowering import products
from lagrangian.symbolic.algebra.blocks import blocks, ones
from lagrangian.symbolic.algebra.inner import Inner


@pytest.fixture
def array():
    generator = np.random.default_rng(0)
    return lambda shape: generator.normal(size=shape)


def compiled(wanted, u, w):
    return jax.jit(lambda a, b: separate(wanted, {u: a, w: b}))


def separate(wanted, values):
    """The array of all products, cut into the products."""
    arrays = {w: a.shape for w, a in values.items()}
    shapes = products.product_shapes(wanted, arrays, values)
    joined = products.inner_products(wanted, values)
    cuts = np.cumsum([math.prod(shape) for shape in shapes])
    assert joined.shape == (cuts[-1],)
    parts = jnp.split(joined, cuts[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


@pytest.mark.parametrize("small", [0, products.SMALL])
@pytest.mark.parametrize("large", [0, products.LARGE])
@pytest.mark.parametrize(
    ("shape", "unit_axis"),
    [
        ((), None),
        ((7,), None),
        ((7,), 0),
        ((12, 5), None),
        ((12, 5), -1),
        ((12, 5), 0),
        ((3, 3, 4, 6), -1),
        ((3, 3, 4, 6), 2),
        ((64, 48), None),
        ((3, 64), 0),
        ((64, 3), -1),
        ((48, 4), -1),
        ((6, 5, 8), 1),
        ((1, 1), 0),
    ],
)
def test_every_layout_is_summed(shape, unit_axis, large, small, array, monkeypatch):
    monkeypatch.setattr(products, "LARGE", large)
    monkeypatch.setattr(products, "SMALL", small)
    u, w = blocks("u", unit_axis=unit_axis), blocks("w", unit_axis=unit_axis)
    wanted = [Inner(u, u), Inner(u, w), Inner(u, ones), Inner(w, u * w)]
    with jax.enable_x64(True):
        values = {u: jnp.asarray(array(shape)), w: jnp.asarray(array(shape))}
        found = compiled(wanted, u, w)(values[u], values[w])
    a, b = (np.asarray(values[x]) for x in (u, w))
    axis = None if unit_axis is None else unit_axis % len(shape)
    others = tuple(i for i in range(len(shape)) if i != axis)
    for value, expected in zip(found, (a * a, a * b, a, b * a * b), strict=True):
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected.sum(axis=others), rtol=1e-13)


def test_blocks_of_several_shapes_and_sizes_at_once(array, monkeypatch):
    monkeypatch.setattr(products, "LARGE", 100)
    u, w = blocks("u", unit_axis=-1), blocks("w")
    values = {u: jnp.asarray(array((8, 4))), w: jnp.asarray(array((50, 3)))}
    found = separate([Inner(w, w), Inner(u, u)], values)
    np.testing.assert_allclose(found[0], np.sum(values[w] ** 2), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.sum(values[u] ** 2, axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_sums_are_as_exact_as_those_of_jax(dtype, array):
    """10^5 squares: one after the other they would lose the last terms."""
    w = blocks("w")
    values = {w: jnp.asarray(array(100_000), dtype)}
    (found,) = separate([Inner(w, w)], values)
    assert found.dtype == dtype
    exact = np.sum(np.asarray(values[w], np.float64) ** 2)
    assert float(found) == pytest.approx(exact, rel=2 * float(jnp.finfo(dtype).eps))


def test_it_is_one_kernel(array):
    """On the CPU: one call, and no sum that XLA would run on its own."""
    u, w = blocks("u", unit_axis=-1), blocks("w")
    values = {u: jnp.asarray(array((32, 8))), w: jnp.asarray(array((32, 8)))}
    wanted = [Inner(u, u), Inner(u, ones), Inner(w, w)]
    text = compiled(wanted, u, w).lower(values[u], values[w]).compile().as_text()
    entry = text.split("ENTRY")[1]
    assert entry.count(" call(") == 1
    assert " reduce(" not in entry and " fusion(" not in entry


def test_rows_of_units_that_come_first_are_as_exact(array):
    """10^5 squares for each unit, whose sum XLA makes by a product with a vector."""
    w = blocks("w", unit_axis=0)
    values = {w: jnp.asarray(array((2, 100_000)), jnp.float32)}
    (found,) = separate([Inner(w, w)], values)
    exact = np.sum(np.asarray(values[w], np.float64) ** 2, axis=1)
    np.testing.assert_allclose(found, exact, rtol=3e-6)


def test_a_program_does_not_grow_with_the_number_of_small_products(array):
    given = blocks("u v w")
    values = [jnp.asarray(array((3, 2))) for _ in given]
    few = [Inner(a, a) for a in given]
    many = [*few, *(Inner(a, b) for a in given for b in given if a != b)]

    def program(wanted):
        def together(*arrays):
            known = dict(zip(given, arrays, strict=True))
            return products.inner_products(wanted, known)

        return jax.make_jaxpr(together)(*values)

    assert len(program(many).eqns) == len(program(few).eqns)


def test_small_and_large_products_come_out_in_their_order(array):
    u, w = blocks("u", unit_axis=-1), blocks("w", unit_axis=-1)
    values = {u: jnp.asarray(array((3, 2))), w: jnp.asarray(array((100, 2)))}
    wanted = [Inner(u, u), Inner(w, w), Inner(u, ones), Inner(w, ones)]
    found = separate(wanted, values)
    a, b = values[u], values[w]
    for value, expected in zip(found, (a * a, b * b, a, b), strict=True):
        np.testing.assert_allclose(value, expected.sum(axis=0), rtol=1e-5, atol=1e-5)
