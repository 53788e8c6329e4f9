"""Exact answers that once were false, and controls: what is false is not returned."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.exact import boundary, checked
from lagrangian.symbolic.laws import noether
from lagrangian.symbolic.laws.on_shell import is_constant

x, y = lg.coordinates("x y")
t = lg.time
m, p, q, w, g = sp.symbols("m p q w g", positive=True)
FREQUENCY = sp.sqrt(p**2 + q**2)
KINK = sp.Piecewise((x**2, x < 0), (0, True))


@pytest.mark.parametrize(
    "rate",
    [
        *(sp.sqrt(2) * x, sp.GoldenRatio * x, sp.sqrt(p + q) * x, sp.Abs(p - q) * x),
        *(x * sp.cos(FREQUENCY * t), x * sp.exp(sp.sqrt(w**2 - g**2 / 4) * t)),
        *(KINK, sp.Abs(x), sp.sign(x) * t, sp.sqrt(2) * x * x.dot**2),
        *(sp.Function("f")(x), sp.Max(x, y), sp.sqrt(2) * x.ddot * x),
    ],
    ids=str,
)
def test_what_is_no_total_derivative(rate):
    assert lg.boundary_term(rate) is None


@pytest.mark.parametrize(
    "boundary",
    [
        sp.sqrt(2) * x**2 * x.dot,
        x * sp.cos(FREQUENCY * t) / FREQUENCY,
        x * sp.exp(-g * t / 2) * sp.sin(sp.sqrt(w**2 - g**2 / 4) * t),
        sp.cbrt(2) * sp.exp(sp.sqrt(3) * x) + sp.sqrt(6) * t * x,
        sp.sqrt(2 * p + 2 * q) * x + sp.sqrt(p + q) * t * x,
        sp.sqrt(1 / (1 + p)) * sp.sin(x),
        sp.Function("f")(x, t) * sp.sqrt(2),
    ],
    ids=str,
)
def test_constants_are_constants(boundary):
    found = lg.boundary_term(lg.total_derivative(boundary))
    assert sp.simplify(lg.total_derivative(found - boundary)) == 0


def test_a_root_in_the_potential_is_no_symmetry():
    system = lg.Lagrangian(m * x.dot**2 / 2, sp.sqrt(2) * x**2 / 2)
    for symmetry in (lg.Translation(x), lg.Symmetry({x: x})):
        law = lg.noether(system, symmetry)
        assert law.boundary is None and law.conserved is None
        assert law.is_conserved is False
    found = lg.find_symmetries(lg.Lagrangian(-sp.sqrt(1 - x.dot**2), -sp.sqrt(2) * x))
    assert [s.name for s in found.of_lagrangian][:2] == [
        "time translation",
        "translation",
    ]
    assert len(found.found) == 3 and found.complete


def test_pieces_push():
    law = lg.noether(lg.Lagrangian(x.dot**2 / 2, KINK), lg.Translation(x))
    assert law.is_conserved is False and law.conserved is None
    energy = lg.noether(lg.Lagrangian(x.dot**2 / 2, KINK), lg.TimeTranslation())
    assert energy.conserved == x.dot**2 / 2 + KINK


def test_caldirola_kanai_along_its_path():
    """The Wronskian with a damped oscillation, from the equations and along a path."""
    W = sp.sqrt(w**2 - g**2 / 4)
    system = lg.Lagrangian(m * x.dot**2 / 2, m * w**2 * x**2 / 2, damping=g * t)
    law = lg.noether(system, lg.Symmetry({x: sp.exp(-g * t / 2) * sp.sin(W * t)}))
    charge = law.conserved
    assert len(sp.Add.make_args(charge)) == 3
    flow = lg.lower(system, {m: 1.3, w: 2.0, g: 0.4})
    path = flow.integrate({x: 0.7}, {x: -0.2}, (0, 3), tol=1e-12)
    values = path.evaluate(charge)
    assert np.ptp(values) < 1e-8 < np.max(np.abs(values))
    undamped = path.evaluate(law.charge)
    assert np.ptp(undamped) > 0.1  # control


def test_the_frequency_has_to_be_right():
    for square, is_right in ((FREQUENCY**2, True), (FREQUENCY, False)):
        system = lg.Lagrangian(x.dot**2 / 2, square * x**2 / 2)
        law = lg.noether(system, lg.Symmetry({x: sp.cos(FREQUENCY * t)}))
        assert (law.conserved is not None) is is_right


def test_multipliers_are_no_constants():
    system = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2, m * y, constraints=[x**2 + y**2 - 1]
    )
    law = lg.noether(system, lg.Translation(x))
    assert law.conserved is None
    sloping = lg.Lagrangian(m * (x.dot**2 + y.dot**2) / 2, 0, constraints=[y - x])
    along = lg.noether(sloping, lg.Translation(x))
    assert along.conserved == along.charge  # by the constraint alone


def test_a_jump_is_no_boundary_term():
    """Its derivative is the rate on either side, and the charge would jump."""
    steps = sp.Piecewise((x**2, x < 1), (x, True))
    integrated = sp.Piecewise((x**3 / 3, x < 1), (x**2 / 2, True))
    assert not checked.is_boundary(integrated, x.dot * steps)
    joined = sp.Piecewise((x**3 / 3, x < 1), (x**2 / 2 - sp.Rational(1, 6), True))
    assert checked.is_boundary(joined, x.dot * steps)
    half = sp.tan(x / 2) / sp.sqrt(3)
    turning = 2 / sp.sqrt(3) * sp.atan(half)
    assert not checked.is_boundary(turning, x.dot / (2 + sp.cos(x)))
    assert checked.is_boundary(-1 / x, x.dot / x**2)
    assert checked.is_boundary(sp.log(sp.Abs(x)), x.dot / x)


@pytest.mark.parametrize("count", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_bodies_in_the_plane_have_names(count):
    xs, ys = (lg.coordinates(f"{name}1:{count + 1}") for name in "xy")
    masses = sp.symbols(f"m1:{count + 1}", positive=True)
    bodies = list(zip(masses, xs, ys, strict=True))
    T = sp.Add(*(mass * (u.dot**2 + v.dot**2) / 2 for mass, u, v in bodies))
    V = -sp.Add(
        *(
            a * b / sp.sqrt((u - r) ** 2 + (v - s) ** 2)
            for i, (a, u, v) in enumerate(bodies)
            for b, r, s in bodies[:i]
        )
    )
    found = lg.find_symmetries(lg.Lagrangian(T, V))
    names = [symmetry.name for symmetry in found.of_lagrangian]
    # The second rotation is that of the centre of mass alone.
    assert names == [
        "time translation",
        *("translation", "translation", "rotation", "rotation"),
        *("Galilean boost", "Galilean boost"),
    ]
    assert found.complete
    assert "symmetry" not in [s.name for s in found.of_potential]


# ------------------------------------------------------------------ controls


def test_a_false_boundary_term_is_caught(monkeypatch):
    for method in ("_by_algebra", "_term_by_term"):
        monkeypatch.setattr(boundary, method, lambda rate: t * rate)
    assert lg.boundary_term(x) is None
    assert lg.boundary_term(p * q) == t * p * q  # of this one it is true


def test_a_false_charge_is_caught(monkeypatch):
    system = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    monkeypatch.setattr(noether, "boundary_term", lambda rate: t * rate)
    assert lg.noether(system, lg.Translation(x)).conserved is None
    monkeypatch.setattr(noether, "vanishes_on_shell", lambda theory, rate: True)
    assert lg.noether(system, lg.Translation(x)).conserved is None


def test_a_false_symmetry_is_caught(monkeypatch):
    from lagrangian.symbolic.laws import find

    system = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    monkeypatch.setattr(find, "boundary_term", lambda rate: t * rate)
    monkeypatch.setattr(
        find.Equations,
        "kernel",
        lambda self, operators, ansatz: [{i: self.ring.field.one} for i in range(2)],
    )
    found = find.find_symmetries(system)
    assert [s.name for s in found.of_lagrangian] == ["time translation"]
    assert not found.of_potential and not found.complete


def test_a_small_break_is_seen():
    """Of one part in 10^30, and in one quadrant alone."""
    tiny = x.dot * sp.Rational(1, 10**30)
    assert not checked.is_boundary(sp.sin(x), sp.cos(x) * x.dot + tiny)
    folded = sp.Abs(x * y) - x * y
    assert not checked.is_boundary(x, x.dot + folded)
    free = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, 0, coordinates=[x, y])
    assert is_constant(free, x * y.dot - y * x.dot)
    assert not is_constant(free, x * y.dot - y * x.dot + t * folded)


@pytest.mark.parametrize(
    "potential",
    [
        *(sp.gamma(x), sp.floor(x), sp.Max(x, y), sp.atan2(y, x), sp.I * x, sp.re(x)),
        *(sp.Function("f")(x) + sp.Function("f")(x, y), sp.sqrt(-1 - x**2), sp.zeta(x)),
        *(sp.Integral(sp.Function("f")(x), x), sp.Abs(sp.sin(x)), x ** sp.sqrt(2)),
        *(0.1 * x**2 + 0.2 * sp.sin(3.317 * x) + sp.cos(x), sp.sqrt(x + sp.sqrt(y))),
    ],
    ids=str,
)
def test_every_input_has_an_answer(potential):
    lg.boundary_term(potential * x.dot)
    T = (x.dot**2 + y.dot**2) / 2
    system = lg.Lagrangian(T, potential, coordinates=[x, y])
    for generator in ({x: sp.sqrt(2) * x}, {x: x.dot * x}, {x: sp.Function("f")(t)}):
        law = lg.noether(system, lg.Symmetry(generator))
        assert law.conserved is None and not law.is_conserved
    lg.find_symmetries(system)
