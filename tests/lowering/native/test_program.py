"""JAX programs as machine code against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.lowering.native import program
from lagrangian.lowering.native.code import BOOLEAN, DOUBLE, Code, NotNative
from lagrangian.lowering.native.compiled import Compiled
from lagrangian.lowering.native.program import LIBRARY, emit

#: What functions may meet: zeros of both signs, infinities, no number, all sizes.
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 7.0, 1e-300, -1e300, np.inf, -np.inf, np.nan]
)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def run(function, *arguments):
    """A function of float64 arrays by machine code."""
    arguments = [np.asarray(x, float) for x in arguments]
    traced = jax.make_jaxpr(function)(*arguments)
    shape = traced.out_avals[0].shape
    code = Code("f", [*(f"given{i}" for i in range(len(arguments))), "out"])
    *pointers, out = code.pointers
    given = []
    for pointer, array in zip(pointers, arguments, strict=True):
        read = np.empty(array.shape, object)
        for place in range(array.size):
            read.flat[place] = code.read(pointer, place=place)
        given.append(read)
    code.label("all")
    (result,) = emit(code, traced, given)
    kind = program.kind_of(traced.out_avals[0])
    for place, value in enumerate(result.flat):
        code.write(value, out, kind, place)
    found = np.full(shape, np.nan)
    Compiled(code)(*arguments, found)
    return found if kind == DOUBLE else found.view(np.int64)


def same(function, *arguments, rtol=4e-16):
    expected = jax.jit(function)(*map(jnp.asarray, arguments))
    np.testing.assert_allclose(run(function, *arguments), expected, rtol=rtol)


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_functions_of_the_library(name):
    primitive = getattr(jax.lax, name, None) or getattr(jnp, name, None)
    two = [np.array([0.3, 2.0, 1e3]), np.array([1.5, -0.5, 0.25])]
    arguments = two if name in ("pow", "atan2") else [[0.3, 0.7, 1.0, 1e-9]]
    same(primitive, *arguments, rtol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        jnp.maximum,
        jnp.minimum,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: jnp.where((a < b) & ~(b == 0) | (a > 3), a, -b),
    ],
)
def test_two_numbers_of_every_kind(function):
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    same(function, *pairs)


@pytest.mark.parametrize(
    "function",
    [
        jnp.abs,
        jnp.sign,
        jnp.isfinite,
        jnp.square,
        lambda x: -x,
        lambda x: x**5,
        lambda x: x**-2,
        lambda x: jnp.sqrt(jnp.abs(x)),
        lambda x: jnp.where(x > 0, 1, 2) * 3 + 4 - jnp.asarray(x < 1, int),
        lambda x: jax.lax.bitcast_convert_type(x, jnp.int64) & (0x7FF << 52),
        lambda x: jax.lax.bitcast_convert_type(x, jnp.int64).astype(jnp.float64) * 0.5,
        lambda x: 1.0 / (x * 2 + 1) + jnp.full(x.shape, 2.0),
    ],
)
def test_one_number_of_every_kind(function):
    same(function, SPECIAL)


def test_what_is_zero_by_its_structure_is_zero_whatever_it_multiplies():
    """JAX has nan here: a term that is not there would spoil those that are."""
    np.testing.assert_array_equal(run(lambda x: x * 0.0 + 1.0, SPECIAL), 1.0)


def test_elements_are_moved_while_it_is_written():
    def moved(x):
        rows = jnp.stack(
            [x[0], x[1, ::2].repeat(2)[:3], jnp.concatenate([x[1, 1:], x[0, :1]])]
        )
        return (rows[:, None] * jnp.ones((1, 2, 1)))[1:, :, 0].reshape(4)

    same(moved, np.arange(6.0).reshape(2, 3) + 0.5)


def test_loops_of_a_known_length_are_unrolled():
    def horner(x):
        def step(i, carry):
            value, powers = carry
            held = jax.lax.dynamic_index_in_dim(x, 3 - i, 0, False)
            return value * x[0] + held, powers * 2

        value, powers = jax.lax.fori_loop(0, 4, step, (0.0, 1))
        rows = jax.lax.scan(lambda a, b: (a + b, a * b), 0.5, x)[1]
        return value + powers * rows

    same(horner, [0.3, 0.5, -1.0, 2.0])


def test_reductions_by_any_function():
    def reduced(x):
        more = jax.lax.reduce(x, -np.inf, lambda a, b: -jax.lax.min(-a, -b), (0,))
        return more + jax.lax.reduce(x, 0.0, lambda a, b: a - (-b), (0,))

    same(reduced, np.array([[1.0, -2.0], [np.nan, 5.0], [3.0, 0.5]]))


def test_what_has_no_rule_is_named():
    with pytest.raises(NotNative, match="sort"):
        run(jnp.sort, [2.0, 1.0])
    with pytest.raises(NotNative, match="moves"):
        run(
            lambda x: jax.lax.dynamic_slice(x, (jnp.int64(x[0] > 0),), (1,)), [2.0, 1.0]
        )


def test_what_is_no_program_is_an_error_and_not_the_end_of_the_process():
    code = Code("f", ["out"])
    code.label("all")
    code.write(1.0, "%nowhere")
    with pytest.raises(NotNative):
        Compiled(code)


def test_booleans_take_eight_bytes():
    code = Code("f", ["truth", "out"])
    truth, out = code.pointers
    held = code.read(truth, BOOLEAN, 1)
    code.label("all")
    code.write(held, out, BOOLEAN)
    found = np.zeros(1, np.int64)
    Compiled(code)(np.array([0, 1]), found)
    assert found[0] == 1
