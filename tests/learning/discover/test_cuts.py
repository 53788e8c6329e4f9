"""How a model cuts its arrays is read from the program."""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagrangian.learning.discover.axes import Axis
from lagrangian.learning.discover.cuts import cuts_of_arguments
from lagrangian.learning.discover.pieces import pieces_of
from lagrangian.lowering.programs import equations


def pieces(function, *shapes, count=1):
    """Those of the first arguments, by number, of a function of ones."""
    program = jax.make_jaxpr(function)(*(jnp.ones(shape) for shape in shapes))
    cuts = cuts_of_arguments(program, count)
    names = [str(i) for i in range(count)]
    return pieces_of(
        dict(zip(names, shapes, strict=False)), dict(zip(names, cuts, strict=True))
    )


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data(), st.booleans())
def test_what_a_program_takes_apart_is_made_of_whole_pieces(factors, data, split):
    """Reshape the outputs of a kernel, cut one axis in parts, use each by itself."""
    axis = data.draw(st.integers(0, len(factors) - 1))
    ends = sorted(data.draw(st.sets(st.integers(1, max(1, factors[axis] - 1)))))
    ends = [e for e in ends if e < factors[axis]]
    outputs = prod(factors)

    def parts(y, numbers=jnp):
        y = y.reshape(*y.shape[:-1], *factors)
        place = axis - len(factors)
        if split:
            return numbers.split(y, ends, place)
        tail = (slice(None),) * (len(factors) - axis - 1)
        bounds = zip([0, *ends], [*ends, factors[axis]], strict=True)
        return [y[(..., slice(a, b), *tail)] for a, b in bounds]

    def function(w, b, x):
        return sum(jnp.sin(i + part).sum() for i, part in enumerate(parts(x @ w + b)))

    found = pieces(function, (5, outputs), (outputs,), (3, 5), count=2)
    for name, shape in (("0", (5, outputs)), ("1", (outputs,))):
        own = [p for p in found if p.path == name]
        index = np.concatenate([p.index.ravel() for p in own])
        np.testing.assert_array_equal(np.sort(index), np.arange(prod(shape)))
        taken = parts(np.arange(prod(shape)).reshape(shape), np)
        for part in taken:
            here = set(np.asarray(part).ravel().tolist())
            for piece in own:
                inside = here & set(piece.index.ravel().tolist())
                assert len(inside) in (0, piece.index.size)
        assert len(own) == len(taken)


def test_pieces_of_one_kernel_are_cut_each_in_its_own_way():
    """Halves of queries and keys turn; values stay whole."""

    def function(w, x):
        y = (x @ w).reshape(3, 3, 2, 4)
        q, k, v = y[:, 0], y[:, 1], y[:, 2]
        return (
            sum(jnp.cos(z[..., :2]).sum() + jnp.sin(z[..., 2:]).sum() for z in (q, k))
            + jnp.exp(v).sum()
        )

    found = pieces(function, (5, 24), (3, 5))
    assert [(p.start, p.shape) for p in found] == [
        (0, (5, 2, 2)),
        (2, (5, 2, 2)),
        (8, (5, 2, 2)),
        (10, (5, 2, 2)),
        (16, (5, 2, 4)),
    ]


@pytest.mark.parametrize(
    "wrap",
    [
        jax.jit,
        jax.checkpoint,
        lambda f: lambda w, x: jax.lax.scan(lambda c, r: (c, f(w, r)), 0.0, x)[1].sum(),
        lambda f: lambda w, x: jax.lax.cond(x.sum() > 0, f, f, w, x),
        lambda f: lambda w, x: jax.lax.fori_loop(0, 3, lambda i, c: c + f(w, x), 0.0),
        lambda f: lambda w, x: jax.vmap(f, (None, 0))(w, x).sum(),
    ],
    ids=["jit", "checkpoint", "scan", "cond", "loop", "vmap"],
)
def test_axes_are_followed_into_inner_programs(wrap):
    def function(w, x):
        one, two = jnp.split(x @ w, 2, -1)
        return (jnp.tanh(one) * two).sum()

    found = pieces(wrap(function), (5, 6), (3, 5))
    assert [p.start for p in found] == [0, 3]


def test_groups_of_a_normalisation_are_read():
    def function(w, x):
        y = (x @ w).reshape(3, 2, 4)
        return jnp.sin(y / jnp.abs(y).sum(-1, keepdims=True)).sum()

    (piece,) = pieces(function, (5, 8), (3, 5))
    assert piece.shape == (5, 2, 4) and piece.is_all


def test_many_slices_are_no_parts_of_a_layer():
    def function(w, x):
        return sum(jnp.sin(i + w[:, i]).sum() for i in range(60)) + x.sum()

    (piece,) = pieces(function, (2, 60), (1,))
    assert piece.is_all


def test_factors_that_do_not_divide_each_other_are_left_out():
    axis = Axis(6)
    axis.factor([Axis(2), Axis(3)])
    axis.factor([Axis(3), Axis(2)])
    assert axis.cuts() == [(0, ((2, 3), (3, 1)))]


def test_equations_are_those_of_inner_programs_too():
    program = jax.make_jaxpr(jax.jit(lambda x: jnp.sin(x)))(1.0)
    assert "sin" in [e.primitive.name for e in equations(program.jaxpr)]
