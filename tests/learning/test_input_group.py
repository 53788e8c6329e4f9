"""Finite groups on inputs: their tables, their orbits, and who sees them."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.errors import LagrangianError

normal = np.random.default_rng(0).normal


def turns():
    return lg.InputGroup.generated(np.rot90, shape=(4, 4))


@pytest.mark.parametrize(
    ("moves", "shape", "elements", "abelian"),
    [
        ([], (3,), 1, True),
        ([np.rot90], (4, 4), 4, True),
        ([np.rot90, np.transpose], (4, 4), 8, False),
        ([lambda x: np.roll(x, 1, 0), lambda x: np.roll(x, 1, 1)], (3, 4), 12, True),
        ([lambda x: np.roll(x, 1), lambda x: x[[1, 0, 2, 3]]], (4,), 24, False),
        ([np.rot90], (1, 1), 1, True),
    ],
)
def test_known_groups(moves, shape, elements, abelian):
    group = lg.InputGroup.generated(*moves, shape=shape)
    assert (len(group), group.is_abelian) == (elements, abelian)
    # Every row and column of the table has every element, and 0 is the identity.
    each = np.arange(elements)
    assert (np.sort(group.table, axis=0) == each[:, None]).all()
    assert (np.sort(group.table, axis=1) == each).all()
    assert (group.table[0] == each).all() and (group.table[:, 0] == each).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.permutations(range(5)), min_size=1, max_size=2))
def test_the_table_is_that_of_moves_one_after_the_other(steps):
    moves = [lambda x, step=step: x[list(step)] for step in steps]
    group = lg.InputGroup.generated(*moves, shape=(5,))
    x = normal(size=(2, 5))
    once = group.orbits(x)
    twice = group.orbits(once)
    g, h = np.random.default_rng(0).integers(len(group), size=(2, 10))
    np.testing.assert_array_equal(twice[h, g], once[group.table[g, h]])
    assert 120 % len(group) == 0


def test_orbits_are_what_the_moves_make():
    x = normal(size=(5, 4, 4))
    orbits = turns().orbits(x)
    for k in range(4):
        np.testing.assert_array_equal(orbits[k], np.rot90(x, k, (1, 2)))
    assert isinstance(turns().orbits(jnp.asarray(x)), jnp.ndarray)
    assert turns().orbits(np.zeros((4, 4), np.float32)).dtype == np.float32
    with pytest.raises(LagrangianError, match=r"pass inputs of shape \(\.\.\., 4, 4\)"):
        turns().orbits(np.zeros((5, 16)))


class Mean(nnx.Module):
    """Of a pixel's own function: no group of pixels is seen, unless it has a weight."""

    def __init__(self, weight):
        self.weight = nnx.Param(jnp.asarray(weight))


def outputs(model, x):
    return jnp.tanh(x * model.weight[...]).mean((1, 2))


def test_the_defect_of_a_model():
    x, even = normal(size=(30, 4, 4)), np.full((4, 4), 0.7)
    assert turns().defect(Mean(even), outputs, x) < 1e-14
    near = even + 1e-6 * np.eye(4)[0]
    assert 1e-7 < turns().defect(Mean(near), outputs, x) < 1e-4
    assert turns().defect(Mean(normal(size=(4, 4))), outputs, x) > 0.5
    # Outputs that are constant see nothing.
    assert turns().defect(Mean(np.zeros((4, 4))), outputs, x) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 2], [1, 2, 0]], "no group"),
        ([[1, 0], [0, 0]], "row 1 .* each whole number below 2"),
        ([[0, 1], [0, 1]], "a row twice"),
        ([[0.0, 1.0]], "whole numbers"),
        ([0, 1], "shape"),
        (np.zeros((0, 3), int), "no group"),
    ],
)
def test_what_is_no_group(rows, message):
    with pytest.raises(LagrangianError, match=message):
        lg.InputGroup(rows)


def test_what_cannot_be_generated():
    with pytest.raises(LagrangianError, match="does not permute the entries"):
        lg.InputGroup.generated(lambda x: x[:-1], shape=(4,))
    with pytest.raises(LagrangianError, match="does not permute the entries"):
        lg.InputGroup.generated(lambda x: x * 0, shape=(4,))
    with pytest.raises(LagrangianError, match="more than 5000"):
        lg.InputGroup.generated(
            lambda x: np.roll(x, 1), lambda x: x[[1, 0, *range(2, 9)]], shape=(9,)
        )
    with pytest.raises(LagrangianError, match="of 6 features"):
        lg.InputGroup([[0, 1]], (2, 3))
