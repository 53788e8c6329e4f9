"""Shared set-up: figures without a screen, strict numerics, and common systems."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import sympy as sp

import lagrangian as lg


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
