"""Our ways to integrate a case, each as a function that returns the states.

All go through the public interface and raise what it raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np

import lagrangian as lg

from .case import Case


def given(tol: float | None) -> dict[str, float]:
    return {} if tol is None else {"tol": tol}


def integrate(flow: Any, case: Case, tol: float | None, **options: Any) -> Callable:
    """The default solver, or another one of the options."""

    def run() -> np.ndarray:
        path = flow.integrate(case.q, case.v, case.times, **given(tol), **options)
        return np.concatenate([path.q, path.v], axis=1)

    return run


def ensemble(flow: Any, case: Case, tol: float | None) -> Callable:
    """An ensemble of one member, which refuses by its status."""

    def run() -> np.ndarray:
        many = flow.ensemble(
            case.q[None], case.v[None], case.times, **given(tol), progress=False
        )
        if many.status[0]:
            raise lg.IntegrationFailed(f"status {many.status[0]}")
        return np.concatenate([many.q[0], many.v[0]], axis=1)

    return run


@lru_cache(maxsize=8)
def _compiled_map(flow: Any, tol: float | None) -> Callable:
    return jax.jit(lambda q, v, t: flow.flow_map(q, v, t, **given(tol)))


def flow_map(flow: Any, case: Case, tol: float | None) -> Callable:
    """Flow maps from the start to every output time; nan is its refusal."""

    def run() -> np.ndarray:
        move, start = _compiled_map(flow, tol), case.times[0]
        with jax.enable_x64(True):
            ends = [move(case.q, case.v, (start, t)) for t in case.times[1:]]
        states = [np.concatenate(end) for end in ends]
        if not np.isfinite(states).all():
            raise lg.IntegrationFailed("nan")
        return np.array([np.concatenate([case.q, case.v]), *states])

    return run


def has_option(function: Callable, name: str) -> bool:
    """Whether a function of the library knows a keyword argument yet."""
    return name in inspect.signature(function).parameters
