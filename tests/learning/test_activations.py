"""What is written of each activation belongs together, and loses no digits far out."""

import jax
import mpmath
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.learning.activations import ACTIVATIONS

WRITTEN = {"tanh": mpmath.tanh, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x))}
INVERSE = {"tanh": mpmath.atanh, "sigmoid": lambda y: mpmath.log(y / (1 - y))}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_slope_is_that_of_the_function(name):
    found, sigma = ACTIVATIONS[name], WRITTEN[name]
    x = np.linspace(-2, 2, 9)
    slope = [float(sigma(value) / mpmath.diff(sigma, value)) for value in x]
    np.testing.assert_allclose(found.slope(x), slope, rtol=1e-12, atol=1e-15)
    block, number = lg.Block("v"), sp.Symbol("v")
    written = found.direction(block).xreplace({block: number, lg.ones: sp.S.One})
    values = [float(written.subs(number, value)) for value in x]
    np.testing.assert_allclose(values, found.slope(x), rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("s", [-30.0, -1.0, -1e-9, 0.0, 1e-9, 1e-3])
def test_a_move_scales_the_function(name, s):
    """Against 60 digits, where sigma has long been rounded to 1 as well."""
    sigma, back = WRITTEN[name], INVERSE[name]
    x = np.array([-40.0, -18.0, -3.0, -1e-8, 0.0, 1e-8, 0.5, 3.0, 18.0, 40.0])
    with mpmath.workdps(60):
        grown = [mpmath.exp(mpmath.mpf(s)) * sigma(mpmath.mpf(v)) for v in x]
        right = [float(back(y)) if abs(y) < 1 else np.nan for y in grown]
    with jax.enable_x64(True):
        moved = np.asarray(ACTIVATIONS[name].moved(x, s))
    np.testing.assert_allclose(moved, right, rtol=1e-13, atol=1e-15)
