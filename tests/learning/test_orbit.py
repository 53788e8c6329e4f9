"""The finite action of every kind of symmetry, and where a function is zero on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.lowering.evaluate import evaluate

normal = np.random.default_rng(0).normal
FIRST, SECOND = lg.blocks("first", unit_axis=-1), lg.blocks("second", unit_axis=0)
a, b = lg.blocks("first second")
G = lg.ConstantBlock("G")
TURN, MIX = lg.LinearMap("turn", parity=-1), lg.LinearMap("mix")
MODEL = {"first": normal(size=(4, 3)) / 2, "second": normal(size=(3, 4)) / 2}
MATRIX, SKEW = normal(size=(3, 3)), np.diag([1.0, 2.0], 1)
SKEW = SKEW - SKEW.T


def product(w):
    return w["first"] @ w["second"]


def turned(array):
    return jnp.asarray(SKEW) @ array.T


def through(activation):
    return lambda w: activation(w["first"]) @ w["second"]


#: A symmetry, the values of its maps, and what it leaves alone.
CASES = {
    "scale": (
        lg.Scale("first", unit_axis=-1), {},
        lambda w: w["first"] / jnp.linalg.norm(w["first"], axis=0),
    ),
    "rescale": (lg.Rescale(FIRST, SECOND), {}, product),
    "rescale, three times as fast": (
        lg.Symmetry({FIRST: 3 * FIRST, SECOND: -3 * SECOND}), {}, product,
    ),
    "translation": (
        lg.Translation("second"), {}, lambda w: w["second"] - w["second"][0],
    ),
    "translation along a direction": (
        lg.Translation(b, G), {G: normal(size=(3, 4))}, lambda w: w["first"],
    ),
    "scale about a point": (
        lg.Symmetry({a: a - 2 * lg.ones}), {},
        lambda w: (w["first"] - 2) / jnp.linalg.norm(w["first"] - 2),
    ),
    "rotation by a map": (
        lg.Rotation("second", TURN), {TURN: lambda x: jnp.asarray(SKEW) @ x},
        lambda w: w["second"].T @ w["second"],
    ),
    "rotation of two blocks": (
        lg.Rotation(lg.blocks("third"), b), {},
        lambda w: w["third"] ** 2 + w["second"] ** 2,
    ),
    "general linear": (lg.GeneralLinear("first", "second", G), {G: MATRIX}, product),
    "queries and keys": (
        lg.Symmetry({a: lg.matmul(a, G), lg.blocks("key"): -lg.matmul(
            lg.blocks("key"), lg.transpose(G))}), {G: MATRIX},
        lambda w: w["first"] @ w["key"].T,
    ),
    "between two matrices": (
        lg.Symmetry({lg.blocks("square"): lg.matmul(G, lg.blocks("square")) - lg.matmul(
            lg.blocks("square"), G)}), {G: MATRIX},
        lambda w: jnp.linalg.eigvals(w["square"]).real.sum(),
    ),
    "absorbed": (
        lg.Symmetry({b: MIX(a), a: 0 * a}), {MIX: turned}, lambda w: w["first"],
    ),
    "through tanh": (
        lg.Symmetry({a: sp.sinh(2 * a) / 2, b: -b}), {}, through(jnp.tanh),
    ),
    "through a sigmoid": (
        lg.Symmetry({a: -lg.ones - sp.exp(a), b: b}), {}, through(jax.nn.sigmoid),
    ),
    "through tanh, not recognised": (
        lg.Symmetry({a: sp.sinh(a) * sp.cosh(a), b: -b}), {}, through(jnp.tanh),
    ),
    "through a cube": (
        lg.Symmetry({a: a / 3, b: -b}), {}, through(lambda x: x**3),
    ),
    "coupled and nonlinear": (
        lg.Symmetry({lg.blocks("third"): lg.blocks("third") * b, b: -b**2}), {},
        lambda w: w["third"] * w["second"],
    ),
}  # fmt: skip
MODEL |= {"third": normal(size=(3, 4)), "key": normal(size=(5, 3))}
MODEL |= {"square": normal(size=(3, 3))}


def at(orbit, s):
    """In NumPy, which keeps float64 outside of JAX's own context."""
    return jax.device_get(orbit(s))


def gap(one, other):
    return max(
        float(np.max(np.abs(np.asarray(one[name]) - np.asarray(other[name]))))
        for name in one
    )


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_group(name):
    symmetry, maps, invariant = CASES[name]
    orbit = lg.Orbit(symmetry, MODEL, maps)
    assert gap(orbit(0.0), MODEL) < 1e-15
    once, far = orbit(-0.3), orbit(0.2)
    assert gap(far, MODEL) > 0.1 and gap(once, MODEL) > 0.1
    again = lg.Orbit(symmetry, once, maps)
    assert gap(again(0.5), far) < 1e-12 and gap(again(0.3), MODEL) < 1e-12
    with jax.enable_x64(True):
        for moved in (once, far):
            np.testing.assert_allclose(invariant(moved), invariant(MODEL), atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_its_derivative_at_zero_is_the_generator(name):
    """By central differences of order four."""
    symmetry, maps, _ = CASES[name]
    orbit, h = lg.Orbit(symmetry, MODEL, maps), 1e-3
    near, far = ([at(orbit, k * h), at(orbit, -k * h)] for k in (1, 2))
    with jax.enable_x64(True):
        known = {q: jnp.asarray(MODEL[q.name]) for q in symmetry.xi}
        said = evaluate(symmetry.xi.values(), {**known, **maps})
    for q, direction in zip(symmetry.xi, said, strict=True):
        one, two = (p[q.name] - m[q.name] for p, m in (near, far))
        found = (8 * one - two) / (12 * h)
        right = np.broadcast_to(direction, found.shape)
        np.testing.assert_allclose(found, right, atol=1e-9)


def test_a_generator_that_is_no_symmetry_moves_the_function():
    """The control: the orbit of another network, and another orbit of this one."""
    right, wrong = lg.Rescale("first", "second"), lg.Scale("first", "second")
    moved = at(lg.Orbit(right, MODEL), 0.5)
    before, after = (np.tanh(w["first"]) @ w["second"] for w in (MODEL, moved))
    assert np.abs(after - before).max() > 0.01
    assert np.abs(product(at(lg.Orbit(wrong, MODEL), 0.5)) - product(MODEL)).max() > 0.1


@settings(max_examples=12, deadline=None)
@given(
    size=st.sampled_from([1e-8, 1.0, 30.0]),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["any", "antisymmetric", "nilpotent", "zero"]),
)
def test_the_series_is_the_matrix_exponential(size, seed, kind):
    """Against SciPy's, for maps whose eigenvalues say nothing of their norm, too."""
    matrix = np.random.default_rng(seed).normal(size=(6, 6))
    matrix = {
        "any": matrix / np.linalg.norm(matrix, 2) * min(size, 5.0),
        "antisymmetric": (matrix - matrix.T) * size,
        "nilpotent": np.triu(matrix, 1) * size,
        "zero": 0 * matrix,
    }[kind]  # fmt: skip
    A, w = lg.LinearMap("A"), np.random.default_rng(seed).normal(size=6)
    shifted = lg.Symmetry({lg.blocks("w"): A(lg.blocks("w")) + lg.ones})
    found = lg.Orbit(shifted, {"w": w}, {A: lambda x: jnp.asarray(matrix) @ x})(1.0)
    whole = np.zeros((7, 7))
    whole[:6, :6], whole[:6, 6] = matrix, 1.0
    right = (scipy.linalg.expm(whole) @ [*w, 1.0])[:6]
    np.testing.assert_allclose(
        found["w"], right, atol=1e-12 * max(size, 1) * np.abs(right).max()
    )


@pytest.mark.parametrize(
    ("slope", "flow"),
    [
        (lambda w: w**3, lambda w, s: w / np.sqrt(1 - 2 * s * w**2)),
        (lambda w: sp.sin(w), lambda w, s: 2 * np.arctan(np.exp(s) * np.tan(w / 2))),
        (lambda w: lg.ones + w**2, lambda w, s: np.tan(np.arctan(w) + s)),
        (lambda w: 3 * lg.ones - 2 * w, lambda w, s: 1.5 + (w - 1.5) * np.exp(-2 * s)),
    ],
)
@pytest.mark.parametrize("start", [[0.0, 0.0], [0.0, 0.5], [1e-200, 1e-3], [-0.3, 0.3]])
def test_against_closed_forms_from_special_states(slope, flow, start):
    """At zero, beside it, and where entries differ by two hundred orders."""
    symmetry, start = lg.Symmetry({lg.blocks("w"): slope(lg.blocks("w"))}), [*start]
    moved = at(lg.Orbit(symmetry, {"w": np.array(start)}), 0.7)["w"]
    np.testing.assert_allclose(moved, flow(np.array(start), 0.7), rtol=1e-11)


def test_a_thousand_turns():
    """The series takes as many parts as the generator is large."""
    symmetry = lg.Rotation("w", TURN)
    quarter = {TURN: lambda x: jnp.stack([-x[1], x[0]])}
    orbit = lg.Orbit(symmetry, {"w": np.array([1.0, 0.0])}, quarter)
    np.testing.assert_allclose(at(orbit, 2000 * np.pi)["w"], [1, 0], atol=1e-11)


def test_each_unit_goes_its_own_way():
    orbit = lg.Orbit(lg.Rescale(FIRST, SECOND), MODEL)
    s = np.array([0.1, -2.0, 0.0])
    moved = orbit(s)
    np.testing.assert_allclose(moved["first"], MODEL["first"] * np.exp(s), rtol=1e-14)
    np.testing.assert_allclose(
        moved["second"].T, MODEL["second"].T * np.exp(-s), rtol=1e-14
    )
    assert gap(orbit(np.full(3, 0.4)), orbit(0.4)) == 0


def test_a_flax_model_stays_what_it_is(network, small_data):
    """Its dtype, its statistics, and the loss to the rounding of float32."""
    symmetry = lg.Scale("conv1.kernel", unit_axis=-1)
    for dtype, rounding in ((jnp.float32, 1e-5), (jnp.float64, 1e-12)):
        model = network(dtype)
        with jax.enable_x64(dtype == jnp.float64):
            images = jnp.asarray(small_data[0], dtype)
            before = model(images)
            moved = lg.Orbit(symmetry, model)(0.7)
            assert moved.conv1.kernel[...].dtype == dtype
            np.testing.assert_allclose(
                moved.conv1.kernel[...],
                np.exp(0.7) * model.conv1.kernel[...],
                rtol=1e-6,
            )
            np.testing.assert_allclose(moved(images), before, atol=1e-2 * rounding**0.5)
            moved.conv1.kernel[...] = 0 * moved.conv1.kernel[...]
            assert jnp.abs(model.conv1.kernel[...]).max() > 0


def test_what_discover_found_takes_the_model_to_others():
    """Its linear maps, one element of the group each, come along with it."""
    model = {"first": MODEL["first"], "second": MODEL["second"]}
    data = normal(size=(40, 4)), normal(size=(40, 4))

    def loss(w, batch):
        return ((batch[0] @ product(w) - batch[1]) ** 2).mean()

    found = lg.discover(model, loss, data)
    assert len(found) >= 2
    for symmetry in found:
        orbit = lg.Orbit(symmetry, model)
        moved = at(orbit, 0.8)
        assert gap(moved, model) > 0.01
        assert gap(at(lg.Orbit(symmetry, moved), -0.8), model) < 1e-12
        np.testing.assert_allclose(product(moved), product(model), atol=1e-13)


def test_jax_differentiates_and_maps_closed_forms():
    orbit = lg.Orbit(lg.Rescale("first", "second"), MODEL)

    def square(s):
        return (orbit(s)["first"] ** 2).sum()

    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(square))(0.5)
        np.testing.assert_allclose(slope, 2 * square(0.5), rtol=1e-13)
        many = jax.vmap(square)(jnp.array([0.0, 0.5]))
        np.testing.assert_allclose(many[1] / many[0], np.e, rtol=1e-13)


# ------------------------------------------------------------------ roots


def imbalance(w):
    return (w["first"] ** 2).sum(axis=0) - (w["second"] ** 2).sum(axis=1)


@pytest.mark.parametrize("units", [False, True])
def test_the_balanced_point(units):
    """Against e^(4s) = |b|^2/|a|^2."""
    symmetry = lg.Rescale(FIRST, SECOND) if units else lg.Rescale("first", "second")
    function = imbalance if units else (lambda w: imbalance(w).sum())
    orbit = lg.Orbit(symmetry, MODEL)
    s = orbit.root(function, between=(-5, 4))
    ratio = (MODEL["second"].T ** 2).sum(axis=0) / (MODEL["first"] ** 2).sum(axis=0)
    if not units:
        ratio = (MODEL["second"] ** 2).sum() / (MODEL["first"] ** 2).sum()
    assert s.shape == ratio.shape and s.dtype == np.float64
    np.testing.assert_allclose(s, np.log(ratio) / 4, atol=1e-15)
    np.testing.assert_allclose(function(at(orbit, s)), 0 * s, atol=1e-14)


def test_a_root_at_an_end_or_in_the_middle_is_exact():
    orbit = lg.Orbit(lg.Translation("w"), {"w": np.zeros(2)})
    for low, high in [(0, 3), (-3, 0), (-2, 2), (-1e9, 2e-9)]:
        found = orbit.root(lambda m: m["w"].sum(), between=(low, high))
        assert abs(found) <= 2.0**-60 * (high - low)
    falling = orbit.root(lambda m: 0.1 - m["w"][0], between=(-1, 2))
    assert falling == pytest.approx(0.1, abs=1e-18)


def test_a_root_on_a_curve_without_a_closed_form():
    """A number that is known by quadrature: log tan of both angles."""
    symmetry = lg.Symmetry({lg.blocks("w"): sp.sin(lg.blocks("w"))})
    orbit = lg.Orbit(symmetry, {"w": np.array([0.3])})
    s = orbit.root(lambda m: m["w"][0] - 2.5, between=(0, 6))
    right = np.log(np.tan(1.25) / np.tan(0.15))
    assert s == pytest.approx(right, rel=1e-11)


def test_a_root_of_a_flax_model(network):
    """Where a kernel has the norm 1, whatever dtype the model has."""
    model = network(jnp.float32)
    orbit = lg.Orbit(lg.Scale("conv1.kernel", unit_axis=-1), model)
    s = orbit.root(
        lambda m: (m.conv1.kernel[...] ** 2).sum(axis=(0, 1, 2)) - 1, between=(-9, 9)
    )
    kernel = np.asarray(orbit(s).conv1.kernel[...])
    assert kernel.dtype == np.float32
    np.testing.assert_allclose((kernel**2).sum(axis=(0, 1, 2)), 1, rtol=1e-6)


def test_what_was_searched_is_said_where_nothing_is_found():
    orbit = lg.Orbit(lg.Rescale(FIRST, SECOND), MODEL)
    with pytest.raises(lg.LagrangianError, match="not change its sign.* s = -1 to 2"):
        orbit.root(lambda w: (w["first"] ** 2).sum(), between=(-1, 2))
    with pytest.raises(lg.LagrangianError, match="for 1 of 3 units.*of unit 2 goes"):
        orbit.root(lambda w: imbalance(w) * (jnp.arange(3) < 2) + 1e-3, (-9, 9))
    with pytest.raises(lg.LagrangianError, match="not finite at both ends"):
        orbit.root(lambda w: jnp.log(w["first"][0, 0] - 1), between=(-9, 9))
    with pytest.raises(lg.LagrangianError, match="smaller one first"):
        orbit.root(imbalance, between=(1, -1))


# ------------------------------------------------------------------ refusals


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(lg.UnknownBlock, match="no block `frist`"):
        lg.Orbit(lg.Scale("frist"), MODEL)
    with pytest.raises(lg.InvalidSymmetry, match="more than blocks"):
        lg.Orbit(lg.TimeTranslation(), MODEL)
    with pytest.raises(lg.InvalidSymmetry, match="more than blocks"):
        lg.Orbit(lg.Rotation(*lg.coordinates("x y")), MODEL)
    rows, columns = (lg.Block("first", unit_axis=axis) for axis in (0, 1))
    with pytest.raises(lg.InvalidSymmetry, match="`first` by two blocks"):
        lg.Orbit(lg.Symmetry({rows: rows, columns: columns}), MODEL)
    with pytest.raises(lg.CannotLower, match="G"):
        lg.Orbit(lg.GeneralLinear("first", "second", G), MODEL)
    with pytest.raises(lg.CannotLower, match="turn"):
        lg.Orbit(lg.Rotation("second", TURN), MODEL)
    orbit = lg.Orbit(lg.Rescale(FIRST, SECOND), MODEL)
    for wrong in (np.zeros(4), np.zeros((3, 3))):
        with pytest.raises(lg.LagrangianError, match=r"have \[3\]"):
            orbit(wrong)
    with pytest.raises(lg.LagrangianError, match=r"have \[None\]"):
        lg.Orbit(lg.Rescale("first", "second"), MODEL)(np.zeros(3))


@pytest.mark.parametrize("name", ["through tanh", "through tanh, not recognised"])
def test_an_orbit_that_ends_says_so(name):
    """tanh(w) = 0.9 grows by no more than 1/0.9."""
    symmetry, _, _ = CASES[name]
    model = {"first": np.arctanh([[0.9]]), "second": np.ones((1, 1))}
    orbit = lg.Orbit(symmetry, model)
    near = at(orbit, 0.99 * np.log(1 / 0.9))
    assert np.tanh(near["first"]) == pytest.approx(0.9 ** (1 - 0.99))
    with pytest.raises(lg.LagrangianError, match="no model at s = 0.2: `first`"):
        orbit(0.2)


@pytest.mark.parametrize("shape", [(4, 4), (3, 2)])
def test_a_matrix_of_another_shape_is_refused_by_name(shape):
    mixed = lg.GeneralLinear("first", "second", G)
    with pytest.raises(lg.CannotLower, match="shape"):
        lg.Orbit(mixed, MODEL, maps={G: np.ones(shape)})
