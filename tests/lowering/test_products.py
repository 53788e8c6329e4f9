"""Inner products by one kernel, against NumPy in double precision."""

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
    return jax.jit(lambda a, b: products.inner_products(wanted, {u: a, w: b}))


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
        ((1, 1), 0),
    ],
)
def test_every_layout_is_summed(shape, unit_axis, large, array, monkeypatch):
    monkeypatch.setattr(products, "LARGE", large)
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
    found = products.inner_products([Inner(w, w), Inner(u, u)], values)
    np.testing.assert_allclose(found[0], np.sum(values[w] ** 2), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.sum(values[u] ** 2, axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_sums_are_as_exact_as_those_of_jax(dtype, array):
    """10^5 squares: one after the other they would lose the last terms."""
    w = blocks("w")
    values = {w: jnp.asarray(array(100_000), dtype)}
    (found,) = products.inner_products([Inner(w, w)], values)
    assert found.dtype == dtype
    exact = np.sum(np.asarray(values[w], np.float64) ** 2)
    assert float(found) == pytest.approx(exact, rel=2 * float(jnp.finfo(dtype).eps))


def test_it_is_one_kernel(array):
    """On the CPU: one call, and no sum that XLA would run on its own."""
    u, w = blocks("u", unit_axis=-1), blocks("w", unit_axis=0)
    values = {u: jnp.asarray(array((16, 8))), w: jnp.asarray(array((16, 8)))}
    wanted = [Inner(u, u), Inner(u, ones), Inner(w, w)]
    text = compiled(wanted, u, w).lower(values[u], values[w]).compile().as_text()
    entry = text.split("ENTRY")[1]
    assert entry.count(" call(") == 1
    assert " reduce(" not in entry and " fusion(" not in entry
