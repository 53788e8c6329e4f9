"""Fields that no family has, solved for among all affine ones where these are few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg

from . import oracle


@pytest.fixture(autouse=True)
def in_double():
    with jax.enable_x64(True):
        yield


def discovered(w, loss, batch):
    return lg.discover({n: jnp.asarray(a) for n, a in w.items()}, loss, batch)


def biased(w, batch):
    """Two constant inputs beside four of the data."""
    bias = jnp.array([0.3, 0.7]) @ w["constants"] + w["bias"]
    hidden = jnp.tanh(batch[0] @ w["first"] + bias)
    return jnp.mean((hidden @ w["second"] - batch[1]) ** 2)


def with_constants():
    chance = np.random.default_rng(0)
    w = {
        "first": chance.normal(size=(4, 3)),
        "constants": chance.normal(size=(2, 3)),
        "bias": chance.normal(size=3),
        "second": chance.normal(size=3),
    }
    return w, (chance.normal(size=(64, 4)), chance.normal(size=64))


def test_shifts_of_constant_inputs_are_written_down():
    w, batch = with_constants()
    found = discovered(w, biased, batch)
    fields = found.census.fields
    assert len(fields) == 3 and found.census.missing == 0
    # v_k + s, b - c_k s for each constant and unit; a family has both constants only.
    assert found.dimension == 2 * 3 and "These are all" in str(found)
    assert "(of " not in str(found)
    for field in fields:
        assert not field.matrix.any() and np.count_nonzero(field.shift) == 2
        assert field.defect < 1e-12
        moved = field({name: np.asarray(a) for name, a in w.items()})
        # The family moves the bias; what is left moves the constants by themselves.
        total = np.array([0.3, 0.7]) @ moved["constants"] + moved.get("bias", 0.0)
        np.testing.assert_allclose(total, 0, atol=1e-9)
    assert "constants[0, 2] by 1, constants[1, 2] by -0.4286" in str(found)


def test_a_large_kernel_that_only_rescales_does_not_hide_them():
    """What is missing, at right angles to the rescales, reaches into kernels."""
    chance = np.random.default_rng(0)
    w, batch = with_constants()
    x = chance.normal(size=(64, 30))
    w["first"] = chance.normal(size=(30, 3)) / 5

    def loss(w, batch):
        bias = jnp.array([0.3, 0.7]) @ w["constants"] + w["bias"]
        hidden = jax.nn.relu(batch[0] @ w["first"] + bias)
        return jnp.mean((hidden @ w["second"] - batch[1]) ** 2)

    found = discovered(w, loss, (x, batch[1]))
    assert found.dimension == 3 + 2 * 3 and found.census.missing == 0
    assert found.census.arrays == ("constants",)


def test_a_unit_that_is_mostly_off_hides_no_slopes():
    """A proof is one at draws where all that the field moves is reached."""
    chance = np.random.default_rng(3)
    w = {"a": chance.normal(size=(2, 2)), "c": np.array([0.0, -3.0]), "b": np.ones(2)}

    def loss(w, x):
        return jnp.mean((jax.nn.relu(x @ w["a"] + w["c"]) ** 2 @ w["b"] - x[:, 0]) ** 2)

    found = discovered(w, loss, chance.normal(size=(64, 2)))
    quiet = sum(row.generators for row in found.unexercised)
    assert found.dimension <= 2 and (quiet or found.dimension == 2)
    for field in found.census.fields or ():
        assert field.residual < 1e-9


def test_the_law_of_such_a_field_is_exact_in_training():
    w, batch = with_constants()
    field = discovered(w, biased, batch).census.fields[0]
    rule = lg.HeavyBall(0.05, momentum=0.9, weight_decay=1e-3)
    law = lg.noether(rule.lagrangian(field.symmetry.loss), field.symmetry)
    model = {name: jnp.asarray(a) for name, a in w.items()}
    run = lg.train(
        model, biased, batch, rule, 60, observe=[law], batch_size=16, progress=False
    )
    assert np.ptp(run[law].quantity) > 0
    for row in lg.check(run, [law]):
        assert row.discrete < 1e-12 and row.holds, row


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(constants=st.integers(0, 3), units=st.integers(1, 3), bias=st.booleans())
def test_the_rank_is_that_of_all_affine_fields(constants, units, bias):
    """The oracle solves for all of A and b, at points of its own, without a family."""
    chance = np.random.default_rng(0)
    given = chance.uniform(0.2, 1.0, constants)
    w = {
        "first": chance.normal(size=(2, units)),
        "constants": chance.normal(size=(constants, units)),
        "bias": chance.normal(size=units),
        "second": chance.normal(size=units),
    }
    w = {n: a for n, a in w.items() if a.size and (bias or n != "bias")}

    def loss(w, batch):
        held = jnp.asarray(given) @ w["constants"] if constants else 0.0
        hidden = jnp.tanh(batch[0] @ w["first"] + held + (w["bias"] if bias else 0.0))
        return jnp.mean((hidden @ w["second"] - batch[1]) ** 2)

    def draw(key):
        x = jax.random.normal(key, (8, 2))
        return x, jnp.tanh(x[:, 0] + 0.3)

    x = chance.normal(size=(64, 2))
    found = discovered(w, loss, (x, np.tanh(x[:, 0] + 0.3)))
    there = oracle.by_points(w, loss, draw)
    assert there.clear
    assert found.dimension == there.directions == units * max(constants + bias - 1, 0)
    assert found.census.missing == 0


def test_what_no_example_reaches_is_no_field():
    """A constant that is zero: shifts of its weights would be the sparsest of all."""
    w, batch = with_constants()
    w["constants"] = np.vstack([w["constants"], np.ones(3)])
    held = np.tile([0.3, 0.7, 0.0], (64, 1))

    def loss(w, batch):
        bias = batch[2] @ w["constants"] + w["bias"]
        hidden = jnp.tanh(batch[0] @ w["first"] + bias)
        return jnp.mean((hidden @ w["second"] - batch[1]) ** 2)

    found = discovered(w, loss, (*batch, held))
    (quiet,) = found.unexercised
    assert quiet.generators == 3
    assert len(found.census.fields) == 3 and found.dimension == 6
    for field in found.census.fields:
        moved = field(w)
        assert moved["constants"][:2].any() and not moved["constants"][2].any()


def test_where_the_bias_is_frozen_the_constants_shift_among_themselves():
    """Of the fields of the loss those come first that training keeps as well."""
    w, batch = with_constants()

    def loss(w, batch):
        return biased({**w, "bias": jax.lax.stop_gradient(w["bias"])}, batch)

    found = discovered(w, loss, batch)
    fields = found.census.fields
    assert found.census.missing == 0 and len(fields) == 3
    kept = found.census.in_training
    assert kept == fields and found.dimension == 3 and len(found) == 0
    for field in fields:
        assert "bias" not in str(field)


def test_fields_of_a_loss_that_training_breaks_are_not_counted():
    """SO(2, 1) turns both vectors, and one of them is frozen."""
    chance = np.random.default_rng(0)

    def loss(w, x):
        return quadratic({**w, "b": jax.lax.stop_gradient(w["b"])}, x, FORM)

    w = {"a": chance.normal(size=3), "b": chance.normal(size=3)}
    found = discovered(w, loss, chance.normal(size=64))
    assert len(found.census.fields) == 3 and found.census.missing == 0
    assert found.census.in_training == () and found.dimension == 0
    assert str(found).count("of the loss alone") == 3


FORM = np.array([[1.0, 0.3, 0.0], [0.3, -1.2, 0.1], [0.0, 0.1, 0.7]])


def quadratic(w, x, form):
    a, b = w["a"], w["b"]
    terms = jnp.sin(x * (a @ form @ a)) + x**2 * (a @ form @ b)
    return jnp.mean((terms + jnp.cos(x * (b @ form @ b))) ** 2)


@settings(max_examples=8, deadline=None)
@given(
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_the_group_of_a_quadratic_form(signs, seed):
    """What depends on a and b by their products under a form Q alone has so(Q)."""
    chance = np.random.default_rng(seed)
    mixed = np.linalg.qr(chance.normal(size=(3, 3)))[0] @ np.diag([1.0, 1.4, 0.7])
    form = mixed @ np.diag(signs) @ mixed.T

    w = {"a": chance.normal(size=3), "b": chance.normal(size=3)}
    found = discovered(w, lambda w, x: quadratic(w, x, form), chance.normal(size=64))
    census = found.census
    assert census.directions == 3
    assert (found.dimension, census.missing) == (3, 0)
    for field in census.fields:
        one, other = field.matrix[:3, :3], field.matrix[3:, 3:]
        np.testing.assert_allclose(one, other, atol=1e-7)
        np.testing.assert_allclose(one.T @ form + form @ one, 0, atol=1e-7)


def test_directions_that_depend_on_the_point_are_no_affine_fields():
    """Level sets of a function that is no polynomial: one direction, no field."""

    def loss(w, x):
        return jnp.mean((x * (jnp.exp(w["a"]) + w["a"] * w["b"] ** 2)) ** 2)

    batch = np.random.default_rng(0).normal(size=64)
    census = discovered({"a": np.array(0.4), "b": np.array(1.1)}, loss, batch).census
    assert (census.missing, census.fields) == (1, ())
    assert "no affine field has them" in str(census)


def test_many_parameters_are_not_searched():
    chance = np.random.default_rng(0)
    form = np.diag([1.0, -1.0] * 20)

    def loss(w, x):
        return jnp.mean(jnp.sin(x * (w["a"] @ form @ w["a"])) ** 2)

    found = discovered({"a": chance.normal(size=40) / 4}, loss, chance.normal(size=64))
    assert found.census.missing and found.census.fields is None
    assert "none that are tried" in str(found)


def test_what_a_penalty_breaks_is_not_written():
    """It leaves the constants' own shifts; at a point, b moves along its level set."""
    w, batch = with_constants()

    def loss(w, batch):
        return biased(w, batch) + jnp.sum(w["bias"] ** 4) / 100

    found = discovered(w, loss, batch)
    census = found.census
    assert (census.missing, len(census.fields)) == (2, 3)
    assert all("bias" not in str(field) for field in census.fields)
    assert "2 more have no slope" in str(census) and "no affine field" in str(census)
