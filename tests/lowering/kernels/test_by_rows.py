"""Functions taken apart into operations on numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.lowering.kernels.by_rows import (
    LANES,
    NUMBERS,
    ByRows,
    NotByRows,
    array_of,
    number,
)
from lagrangian.lowering.kernels.fused import largest, smallest, total

ROWS, WIDTH = 3, 5


def function(y: Any, t: Any, share: Any) -> tuple[Any, ...]:
    """One of everything that steps in lanes are made of."""
    a, b, c = y[0], y[1], y[2]
    both = jnp.stack([jnp.sin(a) * b, jnp.where(c > 0, c, t), jnp.zeros_like(t)])
    joined = jnp.concatenate([y[1:], jnp.abs(both) ** 3])
    limit = jnp.maximum(joined, share[0] * jnp.ones((5, 1)))
    return (
        total(joined / (1 + jnp.exp(-limit))),
        largest(joined),
        smallest(joined * np.arange(5.0)[:, None]),
        jnp.sum(joined.reshape(5, -1), axis=0),
        y[::-1],
        jnp.swapaxes(jnp.stack([y, 2 * y]), 0, 1),
        jnp.max(y, axis=0),
        share * 2,
        jnp.full(t.shape, 7.0),
        jax.jit(jnp.sqrt)(jnp.abs(t)),
    )


def apart(array: Any, laned: bool) -> np.ndarray:
    shape = np.shape(array)[:-1] if laned else np.shape(array)
    parts = [jnp.asarray(array)[place] for place in np.ndindex(*shape)]
    return array_of(shape, parts)


def test_numbers_are_those_of_the_arrays():
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        given = (
            jnp.asarray(random.normal(size=(ROWS, WIDTH))),
            jnp.asarray(random.normal(size=WIDTH)),
            jnp.asarray(random.normal(size=2)),
        )
        shapes = (
            jax.ShapeDtypeStruct((ROWS, LANES), float),
            jax.ShapeDtypeStruct((LANES,), float),
            jax.ShapeDtypeStruct((2,), float),
        )
        program = ByRows(function, *shapes)
        consts = [apart(c, False) for c in program.consts]
        laned = (True, True, False)
        found = program(
            consts, *(apart(x, has) for x, has in zip(given, laned, strict=True))
        )
        expected = function(*given)
        assert len(found) == len(expected)
        for numbers, array in zip(found, expected, strict=True):
            stacked = np.stack([np.asarray(x) for x in numbers.flat])
            stacked = stacked.reshape(array.shape)
            np.testing.assert_allclose(stacked, array, rtol=1e-15, atol=1e-15)


def test_what_computes_a_place_is_refused():
    lanes = jax.ShapeDtypeStruct((ROWS, LANES), np.float32)
    place = jax.ShapeDtypeStruct((), np.int32)
    with pytest.raises(NotByRows):
        ByRows(lambda y, i: y[i], lanes, place)
    with pytest.raises(NotByRows):
        ByRows(lambda y: jnp.cumsum(y, axis=1), lanes)
    with pytest.raises(NotByRows):
        ByRows(jnp.sort, lanes)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda y: jnp.sum(y, axis=1),
        lambda y: y[:, ::-1],
        lambda y: y[:, 1:],
        lambda y: jnp.concatenate([y, y], axis=1),
        lambda y: y.reshape(-1),
        lambda y: y.T,
        lambda y: jnp.stack([y, y], axis=-1),
    ],
)
def test_what_mixes_lanes_is_refused(mixed: Any):
    with pytest.raises(NotByRows, match="lanes"):
        ByRows(mixed, jax.ShapeDtypeStruct((ROWS, LANES), np.float32))


def test_pallas_has_a_form_of_every_operation():
    lowering = pytest.importorskip("jax._src.pallas.triton.lowering")
    known = {p.name for p in lowering.triton_lowering_rules}
    # By another name, or made of others, in some of the versions of JAX.
    assert {*NUMBERS} - known <= {"add_any", "copy"}


def test_a_vector_of_lanes_is_one_number():
    vector = jnp.arange(4.0)
    assert number(vector).shape == ()
    assert number(vector)[()] is vector
