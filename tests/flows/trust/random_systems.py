"""Random Lagrangians: polynomial, trigonometric and rational, free, damped and driven.

Everything comes from the seed; the numbers are short decimals, so that the formulas
can be read and typed in anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp

import lagrangian as lg

from .case import Problem, Start

SEEDS = range(12)
EXTRAS = ("free", "damped", "dissipation", "forces", "pulse", "ramp", "drive")


def problems() -> list[Problem]:
    makers = {
        "polynomial": polynomial,
        "trigonometric": trigonometric,
        "rational": rational,
    }
    found = []
    for number, (family, maker) in enumerate(makers.items()):
        for seed in SEEDS:
            random = np.random.default_rng([number, seed])
            found.append(_problem(family, seed, maker, random))
    return found


def _short(random: Any, low: float, high: float) -> Any:
    return sp.Rational(round(100 * random.uniform(low, high)), 100)


def polynomial(q: Any, random: Any) -> tuple[Any, Any]:
    """A quartic well with cubic terms; every second mass matrix varies."""
    n = len(q)
    well = sum(x**2 / 2 + _short(random, 0.1, 1) * x**4 / 4 for x in q)
    for _ in range(n):
        x, y, z = (q[i] for i in random.integers(0, n, 3))
        well += _short(random, -0.3, 0.3) * x * y * z
    varies = random.random() < 0.5
    masses = [
        1 + _short(random, 0, 1) + (_short(random, 0.1, 1) * x**2 if varies else 0)
        for x in q[1:] + q[:1]
    ]
    return sum(m * x.dot**2 / 2 for m, x in zip(masses, q, strict=True)), well


def trigonometric(q: Any, random: Any) -> tuple[Any, Any]:
    """Pendulums that feel one another through their masses and through springs."""
    kinetic = sum(x.dot**2 for x in q)
    well = sum(-_short(random, 1, 5) * sp.cos(x) for x in q)
    for x, y in zip(q, q[1:], strict=False):
        kinetic += _short(random, -0.8, 0.8) * x.dot * y.dot * sp.cos(x - y)
        well += _short(random, -1, 1) * sp.sin(x) * sp.sin(2 * y)
    return kinetic, well


def rational(q: Any, random: Any) -> tuple[Any, Any]:
    """Smooth holes and walls of finite height, in a wide bowl."""
    square = sum((x - _short(random, -1, 1)) ** 2 for x in q)
    well = sum(x**2 for x in q) / 20 - _short(random, 1, 3) / (1 + square)
    well += sum(_short(random, 0.2, 1) * x**2 / (1 + x**2) for x in q)
    heavy = 1 + _short(random, 0, 1) / (1 + q[0] ** 2)
    return heavy * sum(x.dot**2 for x in q) / 2, well


def _extras(kind: str, q: Any, random: Any) -> tuple[Any, dict[str, Any]]:
    """A potential to add, and what else `lg.Lagrangian` takes."""
    t, x = lg.time, q[0]
    if kind == "damped":
        return 0, {"damping": _short(random, 0.05, 0.3) * t}
    if kind == "dissipation":
        drag = sum(y.dot**2 / 2 + y.dot**4 / 40 for y in q)
        return 0, {"dissipation": _short(random, 0.05, 0.3) * drag}
    if kind == "forces":
        forces = {y: -_short(random, 0.05, 0.2) * y.dot * (1 + y**2) for y in q}
        forces[x] += _short(random, 0.1, 0.5) * sp.cos(_short(random, 1, 3) * t)
        return 0, {"forces": forces}
    if kind == "pulse":
        return -x * sp.exp(-((t - _short(random, 3, 7)) ** 2) * 8), {}
    if kind == "ramp":
        return -x * (1 + sp.tanh(4 * (t - _short(random, 3, 7)))) / 2, {}
    if kind == "drive":
        return -x * _short(random, 0.1, 1) * sp.sin(_short(random, 0.5, 4) * t), {}
    return 0, {}


def _problem(family: str, seed: int, maker: Any, random: Any) -> Problem:
    n = 1 + seed % 3
    q = lg.coordinates(" ".join("xyz"[:n]))
    q = q if isinstance(q, tuple) else (q,)
    kinetic, well = maker(q, random)
    kind = EXTRAS[seed % len(EXTRAS)]
    added, extras = _extras(kind, q, random)
    system = lg.Lagrangian(kinetic, well + added, coordinates=q, **extras)
    here, speed = (np.round(random.uniform(-1, 1, n), 2).tolist() for _ in "qv")
    nought = [0.0] * n
    starts = {
        "generic": Start(here, speed),
        "at rest": Start(here, nought),
        "zeros": Start(nought, nought),
        "equal": Start([here[0]] * n, [speed[0]] * n),
        "small": Start([1e-6 * x for x in here], nought),
    }
    if family == "trigonometric":
        starts["upright"] = Start([math.pi] * n, nought, (0.0, 4.0))
        starts["level"] = Start([math.pi / 2] * n, nought, (0.0, 4.0))
    else:
        starts["from afar"] = Start([4.0] * n, [-1.0] * n, (0.0, 4.0))
    return Problem(
        f"{family} {seed}, {kind}",
        "random",
        system,
        {},
        starts,
        (0.0, 6.0 if n > 1 else 10.0),
        feature=0.05,
        quick=seed in (0, 5) and family != "rational",
    )
