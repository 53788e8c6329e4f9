"""Motions that fooled a step control once: degenerate starts, pulses, walls, units.

The starts are those at which the first terms of a Taylor series say nothing about the
rest: zeros of the force, symmetric states, rest before a pulse.
"""

from __future__ import annotations

import math
from typing import Any

import sympy as sp

import lagrangian as lg

from .case import Problem, Start

PI = math.pi
x, y, th = lg.coordinates("x y theta")
t = lg.time

#: Near relatives of others; the daily tests do without them.
RELATIVES = {
    "x^6/6",
    "falling",
    "stiffer at 9",
    "rational pulse at 10",
    "rational hill",
    "overdamped oscillator",
    "damped oscillator",
    "quartic friction",
}


def problems() -> list[Problem]:
    return [*_pendulum(), *_flat(), *_pulses(), *_walls(), *_drags(), *_scales()]


def _one(
    name: str,
    kind: str,
    V: Any,
    starts: dict[str, tuple],
    quick: bool = True,
    **more: Any,
) -> Problem:
    """A particle of mass one on a line; each start is x, v and the end time."""
    extras = {k: more.pop(k) for k in ("dissipation", "damping") if k in more}
    values = more.pop("parameters", {})
    system = lg.Lagrangian(x.dot**2 / 2, V, coordinates=(x,), **extras)
    states = {k: Start([a], [b], (0.0, end)) for k, (a, b, end) in starts.items()}
    quick = quick and name not in RELATIVES
    return Problem(name, kind, system, values, states, quick=quick, **more)


def _pendulum() -> list[Problem]:
    system = lg.Lagrangian(th.dot**2 / 2, -9.81 * sp.cos(th))
    starts = {
        f"level and {d:g}": Start([PI / 2 + d], [0.0], (0.0, 1.0))
        for d in (0, 1e-12, 1e-8, 1e-6, 1e-4)
    }
    starts["level below"] = Start([-PI / 2], [0.0], (0.0, 1.0))
    starts["level, for long"] = Start([PI / 2], [0.0], (0.0, 20.0))
    starts["hanging"] = Start([0.0], [0.0], (0.0, 10.0))
    starts["upright"] = Start([PI], [0.0], (0.0, 3.0))
    starts["nearly over the top"] = Start([0.0], [2 * math.sqrt(9.81)], (0.0, 2.0))
    starts["a million radians away"] = Start([1e6], [0.0], (0.0, 2.0))
    starts["level after many turns"] = Start([2000.5 * PI], [0.0], (0.0, 1.0))
    starts["whirling"] = Start([0.0], [100.0], (0.0, 5.0))
    return [Problem("pendulum", "degenerate", system, {}, starts, quick=True)]


def _flat() -> list[Problem]:
    """Forces with zeros of high order, from there and from elsewhere."""
    zero = {"zero": (0, 1, 5), "rest at zero": (0, 0, 5), "turning": (1, 0, 5)}
    zero |= {"slowly": (0, 1e-3, 5), "from afar": (-2, 1, 3)}
    k, n = sp.symbols("k n", positive=True)
    values = {k: 1.0, n: 4.0}
    chain = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (y - x) ** 6, coordinates=(x, y))
    pairs = {
        "at rest together": Start([0.5, 0.5], [0, 0]),
        "moving together": Start([0.5, 0.5], [1, 1]),
        "one moves": Start([0, 0], [1, 0]),
        "apart": Start([0, 1], [0, 0]),
    }
    return [
        _one("x^4/4", "degenerate", x**4 / 4, zero),
        _one("x^6/6", "degenerate", x**6 / 6, zero),
        _one(
            "(x - 1)^6",
            "degenerate",
            (x - 1) ** 6,
            {"zero": (1, 1, 3), "rest": (1, 0, 3), "origin": (0, 0, 3)},
        ),
        Problem("(y - x)^6", "degenerate", chain, {}, pairs, (0, 3), quick=True),
        _one("sin(x)^5", "degenerate", sp.sin(x) ** 5, {
            "zero": (0, 1, 3), "rest": (0, 0, 3), "at pi": (PI, 1, 3),
            "level": (PI / 2, 0, 3),
        }),
        _one("sin(x)^6/6", "degenerate", sp.sin(x) ** 6 / 6, zero),
        _one("x^2/2 + x^6/6", "degenerate", x**2 / 2 + x**6 / 6, {
            **zero, "zero": (0, 1, 2),
        }),
        _one("x^20/20", "degenerate", x**20 / 20, {
            "zero": (0, 1, 5), "rest": (0, 0, 5), "turning": (1, 0, 5),
        }),
        _one("x^4 - x^2", "degenerate", x**4 - x**2, {
            "top": (0, 0, 5), "over the top": (0, 1e-3, 5), "just over": (-1, 0, 5),
        }),
        _one("k x^n/n", "degenerate", k * x**n / n, {"turning": (1, 0, 1)},
             parameters=values),
        _one("free", "degenerate", sp.S.Zero, {"moving": (0.1, 1, 100)}),
        _one("falling", "degenerate", 9.81 * x, {"rest": (0, 0, 3), "up": (0, 5, 3)}),
        _one("exp(-x) + x", "degenerate", sp.exp(-x) + x, {
            "bottom": (0, 0, 5), "moving": (0, 2, 5), "afar": (20, 0, 5),
        }),
    ]  # fmt: skip


def _pulses() -> list[Problem]:
    """Forces that come late and are short."""
    found = []
    for when in (12, 15, 20, 30):
        V = x**2 / 2 - x * sp.exp(-((t - when) ** 2) / 2)
        starts = {
            "rest, to its end": (0, 0, when + 5),
            "rest, beyond": (0, 0, 2 * when + 5),
            "moving": (1, 0, when + 5),
        }
        found.append(
            _one(f"pulse at {when}", "pulse", V, starts, when < 20, feature=0.3)
        )
    for width in (0.1, 0.01):
        V = x**2 / 2 - x * sp.exp(-(((t - 7) / width) ** 2) / 2)
        starts = {"rest": (0, 0, 10), "moving": (1, 0, 10)}
        found.append(
            _one(f"pulse of width {width}", "pulse", V, starts, True, feature=width / 4)
        )
    ramp = x**2 / 2 - x * (1 + sp.tanh(5 * (t - 12))) / 2
    burst = x**2 / 2 - x * sp.sin(20 * t) * sp.exp(-((t - 9) ** 2))
    kick = x**2 / 2 * (1 + 3 * sp.exp(-8 * (t - 9) ** 2))
    free = -x * sp.exp(-8 * (t - 15) ** 2)
    rational = x**2 / 2 - x / (1 + 100 * (t - 10) ** 2)
    both = {"rest": (0, 0, 20), "moving": (1, 0, 20)}
    return [
        *found,
        _one("ramp at 12", "pulse", ramp, both, feature=0.05),
        _one("burst at 9", "pulse", burst, both, feature=0.05),
        _one("stiffer at 9", "pulse", kick, both, feature=0.05),
        _one("free, pushed at 15", "pulse", free, both, feature=0.05),
        _one("rational pulse at 10", "pulse", rational, both, feature=0.02),
    ]


def _walls() -> list[Problem]:
    """Walls and holes that the start does not feel."""
    found = []
    for width in (0.2, 0.5, 0.7):
        V = 0.6 * sp.exp(-(x**2) / (2 * width**2))
        starts = {
            "reflected": (-10, 1, 20),
            "passing": (-10, 1.3, 20),
            "from afar": (-1000, 1, 1020),
            "on the top": (0, 0, 5),
        }
        name = f"wall of width {width}"
        found.append(_one(name, "wall", V, starts, width == 0.5, feature=width / 20))
    hole = -5 * sp.exp(-50 * (x - 3) ** 2)
    step = 0.3 * (1 + sp.tanh(10 * (x - 3)))
    hill = 0.6 / (1 + 50 * x**2)
    plane = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, 2 * sp.exp(-10 * (x**2 + y**2)))
    shots = {"head-on": Start([-8, 0], [1, 0]), "beside": Start([-8, 0.1], [1, 0])}
    shots["past"] = Start([-8, 3], [1, 0])
    return [
        *found,
        _one("hole at 3", "wall", hole, {"slow": (0, 0.5, 10), "rest": (3, 0, 2)},
             feature=0.01),
        _one("step at 3", "wall", step, {"over": (-5, 1, 15), "back": (-5, 0.7, 20)},
             feature=0.02),
        _one("rational hill", "wall", hill, {
            "back": (-10, 1, 20), "over": (-10, 1.2, 20),
        }, feature=0.02),
        Problem("round hill", "wall", plane, {}, shots, (0, 16), feature=0.02,
                quick=True),
    ]  # fmt: skip


def _drags() -> list[Problem]:
    """Friction that is not smooth at rest, quadratic, viscous, and negative."""
    square = x.dot**2 + y.dot**2
    thrown = lg.Lagrangian(
        square / 2,
        sp.Rational(981, 100) * y,
        dissipation=sp.Rational(1, 30) * square ** sp.Rational(3, 2),
        coordinates=(x, y),
    )
    states = {
        "from rest": Start([0, 0], [0, 0]),
        "thrown": Start([0, 0], [10, 10]),
        "upwards": Start([0, 0], [0.1, 5]),
        "fast": Start([0, 0], [300, 300]),
    }
    well = {"turning": (1, 0, 20), "rest": (0, 0, 20), "moving": (0, 1, 20)}
    slow = sp.Rational(1, 4) * t
    return [
        Problem("projectile", "friction", thrown, {}, states, (0, 2), quick=True),
        _one("viscous oscillator", "friction", x**2 / 2, well,
             dissipation=x.dot**2 / 10),
        _one("overdamped oscillator", "friction", x**2 / 2, well,
             dissipation=10 * x.dot**2),
        _one("damped oscillator", "friction", x**2 / 2, well, damping=slow),
        _one("damped pendulum", "friction", -sp.cos(x), {
            "level": (PI / 2, 0, 10), "upright": (PI, 0, 10),
        }, damping=slow),
        _one("quartic friction", "friction", x**2 / 2, well,
             dissipation=x.dot**4 / 4),
    ]  # fmt: skip


def _scales() -> list[Problem]:
    """The same physics in units that make numbers huge or tiny."""
    m, k, b, G, M = sp.symbols("m k b G M", positive=True)
    # A Duffing oscillator of mass 1e-15 kg at 100 Hz whose spring hardens at 1 nm.
    omega = 2 * PI * 100
    values = {m: 1e-15, k: 1e-15 * omega**2, b: 0.5e-15 * omega**2 * 1e18}
    duffing = lg.Lagrangian(m * x.dot**2 / 2, k * x**2 / 2 + b * x**4 / 4)
    orbit = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2, -G * M * m / sp.sqrt(x**2 + y**2)
    )
    year, far = 365.25 * 86400, 1.495978707e11
    speed = math.sqrt(6.6743e-11 * 1.989e30 / far)
    # The hydrogen atom's electron on Bohr's orbit, by charges in SI.
    atom = {m: 9.1093837e-31, G: 8.9875518e9, M: 1.602176634e-19**2 / 9.1093837e-31}
    bohr = 5.29177e-11
    around = math.sqrt(atom[G] * atom[M] / bohr)
    turn = 2 * PI * bohr / around
    return [
        Problem("Duffing in SI", "units", duffing, values, {
            "1 nm": Start([1e-9], [0.0], (0.0, 0.1)),
            "from zero": Start([0.0], [1e-9 * omega], (0.0, 0.1)),
            "rest": Start([0.0], [0.0], (0.0, 0.1)),
        }, quick=True),
        Problem("Sun and probe", "units", orbit, {m: 1e3, G: 6.6743e-11, M: 1.989e30}, {
            "circle": Start([far, 0], [0, speed], (0.0, year)),
            "ellipse": Start([far, 0], [0, 0.7 * speed], (0.0, year)),
        }, quick=True),
        Problem("electron", "units", orbit, atom, {
            "circle": Start([bohr, 0], [0, around], (0.0, 3 * turn)),
            "ellipse": Start([bohr, 0], [0, 0.7 * around], (0.0, 3 * turn)),
        }, quick=True),
    ]  # fmt: skip
