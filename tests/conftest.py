"""Shared set-up: figures without a screen, strict numerics, and common systems."""

import ctypes
import gc
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest
import sympy as sp

import lagrangian as lg

#: Mapped regions from which on a process drops what JAX has compiled. Linux allows
#: 65,530 of them, and every compiled program has some; so many take 3 GB.
_MANY_MAPS = 10_000


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Between modules, no more compiled programs than a process can hold."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()
        # glibc keeps what was freed; where it is not, there is no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@pytest.fixture
def learning_symbols():
    """m, mu and lambda, as learning rules use them."""
    from lagrangian.learning.rules.rule import friction, mass
    from lagrangian.symbolic.laws.discrete import weight_decay

    return mass, friction, weight_decay


@pytest.fixture
def pendulum():
    """The double pendulum of the README, and its parameters."""
    a, b = lg.coordinates("a b")
    m, l, g = sp.symbols("m l g", positive=True)
    T = m * l**2 * (a.dot**2 + b.dot**2 / 2 + a.dot * b.dot * sp.cos(a - b))
    V = -m * g * l * (2 * sp.cos(a) + sp.cos(b))
    return lg.Lagrangian(T, V), {m: 1.0, l: 1.0, g: 9.81}
