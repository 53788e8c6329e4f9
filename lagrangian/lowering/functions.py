"""What each SymPy function, power and exact number is in JAX, for real arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax.numpy as jnp
import jax.scipy.special as jsp
import sympy as sp
from mpmath.libmp import from_rational, mpf_pos, to_float
from sympy.logic.boolalg import Boolean

from lagrangian.lowering.kernels.trigonometry import cos, sin

#: Elementwise, right for every real argument of SymPy's function unless said here; a
#: value that SymPy has outside the reals is nan.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sp.sin: sin,
    sp.cos: cos,
    sp.tan: jnp.tan,
    sp.cot: lambda x: 1 / jnp.tan(x),
    sp.sec: lambda x: 1 / jnp.cos(x),
    sp.csc: lambda x: 1 / jnp.sin(x),
    sp.sinc: lambda x: jnp.sinc(x / math.pi),
    sp.asin: jnp.arcsin,
    sp.acos: jnp.arccos,
    sp.atan: jnp.arctan,
    sp.acot: lambda x: _acot(x),
    sp.asec: lambda x: jnp.arccos(1 / x),
    sp.acsc: lambda x: jnp.arcsin(1 / x),
    sp.atan2: jnp.arctan2,
    sp.sinh: jnp.sinh,
    sp.cosh: jnp.cosh,
    sp.tanh: jnp.tanh,
    sp.coth: lambda x: 1 / jnp.tanh(x),
    sp.sech: lambda x: 1 / jnp.cosh(x),
    sp.csch: lambda x: 1 / jnp.sinh(x),
    sp.asinh: jnp.arcsinh,
    sp.acosh: jnp.arccosh,
    sp.atanh: jnp.arctanh,
    sp.acoth: lambda x: jnp.arctanh(1 / x),
    sp.asech: lambda x: jnp.arccosh(1 / x),
    sp.acsch: lambda x: jnp.arcsinh(1 / x),
    sp.exp: jnp.exp,
    sp.log: jnp.log,
    sp.Abs: jnp.abs,
    sp.sign: jnp.sign,
    sp.floor: jnp.floor,
    sp.ceiling: jnp.ceil,
    sp.frac: lambda x: x - jnp.floor(x),
    sp.Mod: jnp.mod,  # the sign of the divisor, as in SymPy
    sp.Min: lambda *x: reduce(jnp.minimum, x),
    sp.Max: lambda *x: reduce(jnp.maximum, x),
    sp.Heaviside: lambda x, at_zero: jnp.heaviside(x, at_zero),
    sp.erf: jsp.erf,
    sp.erfc: jsp.erfc,
    sp.erfinv: jsp.erfinv,
    sp.gamma: lambda x: _gamma(x),
    sp.factorial: lambda x: _gamma(x + 1),
    sp.beta: lambda x, y: _gamma(x) * _gamma(y) / _gamma(x + y),
    # Both for positive arguments, and nan elsewhere.
    sp.lowergamma: lambda s, x: _where_positive(jsp.gammainc, s, x) * _gamma(s),
    sp.uppergamma: lambda s, x: _where_positive(jsp.gammaincc, s, x) * _gamma(s),
    sp.Ei: jsp.expi,
    sp.Si: lambda x: jsp.sici(x)[0],
    sp.Ci: lambda x: _where_positive(lambda x: jsp.sici(x)[1], x),
    sp.fresnels: lambda x: jsp.fresnel(x)[0],
    sp.fresnelc: lambda x: jsp.fresnel(x)[1],
    # log |gamma| would be the real part of SymPy's complex value below 0.
    sp.loggamma: lambda x: jnp.where(x > 0, jsp.gammaln(x), math.nan),
}


def _gamma(x: Any) -> Any:
    return jsp.gammasgn(x) * jnp.exp(jsp.gammaln(x))


def _where_positive(function: Callable[..., Any], *arguments: Any) -> Any:
    """Its value where all arguments are positive, nan elsewhere, in gradients too."""
    inside = reduce(jnp.logical_and, (x > 0 for x in arguments))
    safe = (jnp.where(inside, x, 1.0) for x in arguments)
    return jnp.where(inside, function(*safe), math.nan)


def _acot(x: Any) -> Any:
    """The branch with acot(0) = pi/2, and a finite derivative there."""
    near = jnp.abs(x) < 1
    inside = jnp.where(x < 0, -math.pi / 2, math.pi / 2) - jnp.arctan(x)
    return jnp.where(near, inside, jnp.arctan(1 / jnp.where(near, 1.0, x)))


#: Those of a whole number (a constant) and a real one.
ORDERED: dict[Any, Callable[[int, Any], Any]] = {
    # Order 0 for every x; above, for x > 0, and nan elsewhere.
    sp.polygamma: lambda n, x: (
        jsp.digamma(x) if n == 0 else _where_positive(lambda x: jsp.polygamma(n, x), x)
    ),
    # For x > 0, and nan elsewhere.
    sp.expint: lambda n, x: _where_positive(lambda x: jsp.expn(n, x), x),
    sp.besseli: lambda n, x: (jsp.i0, jsp.i1)[n](x),
}

#: The orders for which an entry of `ORDERED` has an implementation.
ORDERS: dict[Any, range] = {
    sp.polygamma: range(100),
    sp.expint: range(100),
    sp.besseli: range(2),
}

LOGIC: dict[Any, Callable[..., Any]] = {
    sp.And: lambda *x: reduce(jnp.logical_and, x),
    sp.Or: lambda *x: reduce(jnp.logical_or, x),
    sp.Not: jnp.logical_not,
    sp.StrictLessThan: lambda a, b: a < b,
    sp.LessThan: lambda a, b: a <= b,
    sp.StrictGreaterThan: lambda a, b: a > b,
    sp.GreaterThan: lambda a, b: a >= b,
    sp.Equality: lambda a, b: a == b,
    sp.Unequality: lambda a, b: a != b,
}


def has_counterpart(node: Any) -> bool:
    """Whether JAX has what the top of this SymPy expression does."""
    if node.is_Number or node.is_NumberSymbol:
        return node.is_extended_real is True
    if node.is_number and node.is_extended_real is False:  # (-2)**(1/3)
        return False
    kind = type(node)
    if kind in ORDERED:
        order = node.args[0]
        return bool(order.is_Integer) and int(order) in ORDERS[kind]
    if kind in FUNCTIONS or isinstance(node, sp.Piecewise):
        return True
    if isinstance(node, sp.Function):
        return False
    if kind in LOGIC or node.is_Add or node.is_Mul or node.is_Pow or node.is_Symbol:
        return True
    if node in (sp.true, sp.false):
        return True
    # SymPy's derivatives, integrals, sums, imaginary unit: nothing that runs.
    runs = not isinstance(node, sp.Expr | Boolean)
    return runs or not kind.__module__.startswith("sympy.")


def number(node: Any, dtype: Any) -> float | int:
    """A real constant such as 1/3, pi or sqrt(2), rounded once, to that precision.

    Rounding to float64 first and to float32 after would round some numbers wrongly.
    """
    if node.is_Integer and abs(node) < 2**31:
        return int(node)
    bits = jnp.finfo(dtype).nmant + 1
    if node.is_Rational:
        return to_float(from_rational(node.p, node.q, bits, "n"))
    value = node.evalf(60)
    if value.is_Float:
        return to_float(mpf_pos(value._mpf_, bits, "n"))
    return float(value)  # infinities and nan


def fraction(product: Any) -> tuple[list[Any], list[Any]]:
    """The factors above and below the line of a product, for one division in all."""
    above, below = [], []
    for factor in product.args:
        base, exponent = factor.as_base_exp()
        if factor.is_Pow and exponent.is_Rational and exponent < 0:
            below.append(base**-exponent)
        else:
            above.append(factor)
    return above, below


def rational_power(base: Any, exponent: Any) -> Any:
    """base**exponent; whole and half powers by products and a square root."""
    p, q = abs(int(exponent.p)), int(exponent.q)
    if q == 1:
        value = base**p
    elif q == 2:
        root = jnp.sqrt(base)
        value = root if p == 1 else base ** (p // 2) * root
    else:
        return base ** (float(exponent))
    return value if exponent > 0 else 1 / value
