"""Every system of the library, from its own state and from special ones."""

from __future__ import annotations

import math

import numpy as np

from lagrangian.systems.mechanics import SYSTEMS, make_system

from .case import Problem, Start

#: Intervals over which the motions from anywhere stay predictable.
SPANS = {"foucault-pendulum": 600.0, "fput-chain": 20.0, "heavy-top": 0.5}
#: Where the equations have no meaning, and where a force has a pole.
SINGULAR = {
    "kepler": {"zeros", "rest"},
    "three-body": {"zeros", "rest"},
    "spherical-pendulum": {"zeros"},
    "heavy-top": {"zeros"},
    "elastic-pendulum": {"zeros"},
}
#: Swings through the pole of the angles.
LEFT_OUT = {("spherical-pendulum", "rest"), ("heavy-top", "rest")}
QUICK = {"double-pendulum", "kepler", "henon-heiles", "van-der-pol", "rotating-hoop"}
PI = math.pi

#: Special states by system: positions, velocities and, if need be, the end time.
SPECIAL: dict[str, dict[str, tuple]] = {
    "double-pendulum": {
        "at rest, equal angles": ((PI / 2, PI / 2), (0, 0), 1.0),
        "at rest, nearly equal angles": ((PI / 2, PI / 2 + 1e-9), (0, 0), 1.0),
        "mirrored angles": ((1.0, -1.0), (0, 0), 3.0),
        "upright": ((PI, PI), (0, 0), 2.0),
        "elbow": ((PI, 0.0), (0, 0), 2.0),
        "level and hanging": ((PI / 2, 0.0), (0, 0), 2.0),
        "a million radians away": ((1e6, 1e6 + 1), (0, 0), 2.0),
        "spinning fast": ((0.0, 0.0), (50.0, 50.0), 2.0),
        "small": ((1e-6, 1e-6), (0, 0), 3.0),
    },
    "n-pendulum": {
        "level": ((PI / 2,) * 3, (0, 0, 0), 1.0),
        "upright": ((PI,) * 3, (0, 0, 0), 1.5),
        "zigzag": ((1.0, -1.0, 1.0), (0, 0, 0), 1.5),
    },
    "spherical-pendulum": {
        "in a plane": ((1.0, 0.0), (0.0, 0.0), 0.7),
        "on a cone": ((1.0, 0.0), (0.0, math.sqrt(9.81 / math.cos(1.0))), 5.0),
        "level": ((PI / 2, 0.0), (0.0, 1.0), 3.0),
        "near the bottom": ((1e-3, 0.0), (0.0, 3.0), 3.0),
    },
    "foucault-pendulum": {"pushed": ((0, 0), (0.0, 1.0), 600.0)},
    "rotating-hoop": {
        "unstable bottom": ((1e-9,), (0.0,), 5.0),
        "in balance": ((math.acos(9.81 / 25),), (0.0,), 5.0),
        "level": ((PI / 2,), (0.0,), 3.0),
        "top": ((PI,), (0.0,), 2.0),
    },
    "elastic-pendulum": {
        "hanging": ((1 + 9.81 / 29.43, 0.0), (0.0, 0.0), 5.0),
        "bouncing": ((1.5, 0.0), (0.0, 0.0), 5.0),
        "level": ((1.0, PI / 2), (0.0, 0.0), 1.0),
    },
    "kepler": {
        "circle": ((1, 0), (0, 1), 20.0),
        "comet, e = 0.99": ((1.99, 0), (0, math.sqrt(0.01 / 1.99)), 6.0),
        "comet from its perihelion": ((0.01, 0), (0, math.sqrt(199.0)), 6.0),
        "parabola": ((1, 0), (0, math.sqrt(2)), 100.0),
        "fly-by from afar": ((-1000, 1), (1, 0), 2000.0),
        "falling, short of the sun": ((1, 0), (0, 0), 1.0),
    },
    "three-body": {
        "triangle at rest": (
            (1, 0, -0.5, math.sqrt(0.75), -0.5, -math.sqrt(0.75)), (0,) * 6, 0.4,
        ),
        "two turn, one far": ((0.5, 0, -0.5, 0, 30, 0), (0, 0.7, 0, -0.7, 0, 0), 6.0),
    },
    "henon-heiles": {
        "saddle": ((0, 1), (0, 0), 3.0),
        "beside the saddle": ((0, 1 - 1e-10), (0, 0), 10.0),
        "on the axis": ((0, 0), (0, 0.5), 10.0),
        "escaping": ((0, 1.1), (0, 0), 2.0),
    },
    "toda-chain": {"pair": ((0, 0, 0, 0), (1, -1, 1, -1), 5.0)},
    "fput-chain": {"one moves": ((0,) * 32, (1, *(0,) * 31), 20.0)},
    "charged-particle": {
        "drifting": ((0, 0, 0), (0, -0.1, 0), 30.0),
        "fast": ((0, 0, 0), (1e6, 0, 1), 30.0),
    },
    "relativistic-particle": {
        "almost light": ((0, 0), (0.999, 0), 10.0),
        "forced for long": ((0, 0), (0, 0), 1e3),
        "turning": ((0, 0), (-0.9, 0.1), 10.0),
    },
    "van-der-pol": {
        "limit cycle": ((2.00862,), (0,), 20.0),
        "from far": ((50.0,), (0,), 5.0),
        "tiny": ((1e-9,), (0,), 10.0),
    },
    "heavy-top": {
        "upright almost, fast": ((0, 0.01, 0), (0, 0, 200.0), 0.2),
        "without spin": ((0, 0.5, 0), (0, 0, 0), 0.2),
        "level": ((0, PI / 2, 0), (0, 0, 100.0), 0.5),
    },
}  # fmt: skip


def problems() -> list[Problem]:
    """One for each system."""
    return [_problem(name, seed) for seed, name in enumerate(SYSTEMS)]


def _problem(name: str, seed: int) -> Problem:
    system = make_system(name)
    q = system.lagrangian.coordinates
    own = [float(system.positions[x]) for x in q]
    moving = [float(system.velocities[x]) for x in q]
    end = SPANS.get(name, 10.0)
    random = np.random.default_rng(seed)
    n = len(q)
    away = [x + 0.1 * r for x, r in zip(own, random.uniform(-1, 1, n), strict=True)]
    turn = [0.9 * u + 0.05 * r for u, r in zip(moving, random.random(n), strict=True)]
    starts = {
        "own state": Start(own, moving),
        "own state, early": Start(own, moving, (0.0, end / 100)),
        "own state, later clock": Start(own, moving, (1000.0, 1000.0 + end)),
        "own state reversed": Start(own, [-u for u in moving]),
        "generic": Start(away, turn),
        "rest": Start(own, [0.0] * n),
        "zeros": Start([0.0] * n, [0.0] * n),
    }
    for label, (there, speed, until) in SPECIAL[name].items():
        starts[label] = Start(there, speed, (0.0, until))
    starts = {k: s for k, s in starts.items() if (name, k) not in LEFT_OUT}
    return Problem(
        name,
        "library",
        system.lagrangian,
        system.parameters,
        starts,
        (0.0, end),
        singular=tuple(SINGULAR.get(name, ())),
        quick=name in QUICK,
    )
