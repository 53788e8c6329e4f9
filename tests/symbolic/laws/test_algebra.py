"""Structure constants, against matrices, identities and groups that are known."""

import dataclasses

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.errors import InvalidSymmetry

x, y, z = lg.coordinates("x y z")
m, w = sp.symbols("m w", positive=True)
QS = (x, y, z)


def linear(matrix):
    moved = sp.Matrix(matrix) * sp.Matrix(QS)
    return lg.Symmetry(dict(zip(QS, moved, strict=True)), name="linear")


def is_lie_algebra(constants):
    """Antisymmetric, with Jacobi's identity."""
    c = np.array(constants.tolist(), dtype=object)
    jacobi = np.einsum("ijl,lkm->ijkm", c, c)
    jacobi = jacobi + jacobi.transpose(1, 2, 0, 3) + jacobi.transpose(2, 0, 1, 3)
    zero = lambda values: all(sp.simplify(v) == 0 for v in values.ravel())
    return zero(c + c.transpose(1, 0, 2)) and zero(jacobi)


entries = st.integers(-3, 3)
matrices = st.lists(entries, min_size=9, max_size=9).map(lambda v: sp.Matrix(3, 3, v))


@given(matrices, matrices)
def test_linear_fields_have_the_brackets_of_their_matrices(A, B):
    """[X_A, X_B] = X_{BA - AB}, whose span with A and B decides what is answered."""
    C = B * A - A * B
    rows = [list(M) for M in (A, B, C)]
    closed = sp.Matrix(rows[:2]).rank() == sp.Matrix(rows).rank()
    if sp.Matrix(rows[:2]).rank() < 2:
        with pytest.raises(InvalidSymmetry, match="combination of those|no basis"):
            lg.LieAlgebra.of([linear(A), linear(B)])
    elif not closed:
        with pytest.raises(InvalidSymmetry, match="not closed"):
            lg.LieAlgebra.of([linear(A), linear(B)])
    else:
        c = lg.LieAlgebra.of([linear(A), linear(B)]).constants
        assert c[0, 1, 0] * A + c[0, 1, 1] * B == C


def test_a_central_potential_has_the_algebra_of_rotations():
    T = m * sum(q.dot**2 for q in QS) / 2
    r2 = sum(q**2 for q in QS)
    algebra = lg.find_symmetries(lg.Lagrangian(T, r2**2)).algebra
    names = [generator.name for generator in algebra.generators]
    assert names.count("rotation") == 3 and len(names) == 4
    assert is_lie_algebra(algebra.constants)
    turns = [i for i, name in enumerate(names) if name == "rotation"]
    for i, j in [(0, 1), (1, 2), (0, 2)]:
        (k,) = set(range(3)) - {i, j}
        assert algebra.constants[turns[i], turns[j], turns[k]] ** 2 == 1
    # Time commutes with every turn.
    (still,) = set(range(4)) - set(turns)
    assert all(algebra.constants[still, i, k] == 0 for i in turns for k in range(4))
    # Killing's form of the rotations is definite: so(3), and not sl(2).
    c = np.array(algebra.constants.tolist(), dtype=object)[np.ix_(turns, turns, turns)]
    form = np.einsum("ilk,jkl->ij", c, c).astype(float)
    np.testing.assert_array_equal(form, -2 * np.eye(3))


def test_a_free_particle_has_the_algebra_of_schroedinger():
    """1, 2t, t^2 of time: sl(2), whose Killing form is indefinite."""
    free = lg.Lagrangian(m * x.dot**2 / 2, sp.S.Zero)
    algebra = lg.find_symmetries(free, degree=2).algebra
    assert len(algebra.generators) == 5 and not algebra.is_abelian
    assert is_lie_algebra(algebra.constants)
    c = np.array(algebra.constants.tolist(), dtype=object)
    form = np.einsum("ilk,jkl->ij", c, c).astype(float)
    signs = np.sign(np.linalg.eigvalsh(form).round(9))
    assert sorted(signs) == [-1, 0, 0, 1, 1]


def test_constants_may_hold_parameters():
    """A particle in a rotating frame: turning and the translations that it turns."""
    a = lg.Symmetry({x: w}, name="a")
    b = lg.Symmetry({y: 1}, name="b")
    algebra = lg.LieAlgebra.of([a, b, lg.Rotation(x, y)])
    assert algebra.constants[0, 2, 1] == w
    assert algebra.constants[1, 2, 0] == -1 / w
    assert is_lie_algebra(algebra.constants)


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ([lg.Symmetry({x: x**2}), lg.Symmetry({x: x**3})], "not closed"),
        ([lg.Translation(x), lg.Translation(x, 2)], "number 2 is a combination"),
        ([lg.Symmetry({x: x.dot})], "contains velocities"),
        ([lg.Symmetry({x: sp.sin(x)})], "no polynomial"),
        ([lg.Scale("w")], "moves blocks or fields"),
        ([lg.Symmetry({})], "no basis"),
    ],
)
def test_what_has_no_algebra_is_refused(generators, message):
    with pytest.raises(InvalidSymmetry, match=message):
        lg.LieAlgebra.of(generators)


def test_the_constants_of_kepler_with_velocities_are_refused():
    found = lg.find_symmetries(
        lg.Lagrangian((x.dot**2 + y.dot**2) / 2, -1 / sp.sqrt(x**2 + y**2)),
        degree=1,
        velocities=True,
    )
    with pytest.raises(InvalidSymmetry, match="contains velocities"):
        _ = found.algebra


def test_it_prints_short_and_none_is_none():
    free = lg.Lagrangian(sum(q.dot**2 for q in QS) / 2, sp.S.Zero)
    found = lg.find_symmetries(free)
    lines = str(found.algebra).splitlines()
    assert len(lines) <= 22 and lines[-1].startswith("  ... and ")
    assert len(found.algebra._repr_latex_()) < 2000
    assert is_lie_algebra(found.algebra.constants)
    still = lg.Lagrangian(x.dot**2 / 2, sp.sin(x) * lg.time**3)
    assert str(lg.find_symmetries(still).algebra).endswith("all brackets vanish")


def test_a_wrong_constant_is_seen():
    algebra = lg.LieAlgebra.of(
        [lg.Translation(x), lg.Translation(y), lg.Rotation(x, y)]
    )
    assert is_lie_algebra(algebra.constants)
    wrong = sp.MutableDenseNDimArray(algebra.constants)
    wrong[0, 2, 1] = 2
    assert not is_lie_algebra(dataclasses.replace(algebra, constants=wrong).constants)
