"""What the flow behind the steps is made of, by the engine, to third order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import Block, block_terms, ones
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.coordinates import coordinates
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.symmetry import Scale, Translation
from lagrangian.symbolic.laws.backward_error import Recursion, modified_flow
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.theorems.theorem import Claim, identity

q = Block("q")
F = Loss("F", q)
G = F.gradient(q)
eta, b = learning_rate, momentum

TWELFTH = sp.Rational(1, 12)


def along(*directions: Any, loss: Loss = F) -> Any:
    """A derivative of the gradient: H[v], T[v, w], ..."""
    return Gradient(loss, q, *((q, v) for v in directions))


def fields(order: int, momentum: Any = b) -> list[Any]:
    """f_0, f_1, ... of the heavy ball q'' - q' = momentum (q' - q) - eta grad F."""
    heavy_ball = Recursion({q: -eta * G}, momentum)
    return [term[q] for term in modified_flow(heavy_ball, order).terms]


def by_hand(tensor: Any = TWELFTH) -> list[Any]:
    """The same, written out.

    Args:
        tensor: the coefficient of T[g, g] in f_2 without momentum.
    """
    HG, D = along(G), 1 - b
    TGG, third, half = along(G, G), sp.Rational(1, 3), sp.Rational(1, 2)
    f_2 = third * (b**2 + 4 * b + 1) * along(HG) + tensor * (b**2 + 10 * b + 1) * TGG
    f_3 = (
        half**2 * (1 + b) * (b**2 + 8 * b + 1) * along(along(HG))
        + TWELFTH * (1 + b) * (b**2 + 16 * b + 1) * along(TGG)
        + TWELFTH * (1 + b) * (b**2 + 28 * b + 1) * along(G, HG)
        + half * b * (1 + b) * along(G, G, G)
    )
    return [-G / D, -half * (1 + b) * HG / D**3, -f_2 / D**5, -f_3 / D**7]


def scalar(expression: Any) -> Any:
    """A sum of block products as one of symbols, so that SymPy's algebra applies."""
    if expression == 0:
        return sp.S.Zero
    names: dict[Any, sp.Symbol] = {}
    return sp.Add(
        *(
            coefficient * names.setdefault(product, sp.Symbol(f"x{len(names)}"))
            for coefficient, product in block_terms(sp.expand(expression))
        )
    )


# ------------------------------------------------------------------ the terms


def term_identities(quick: bool) -> Iterator[Claim]:
    """The four coefficients, and that their flow makes the steps."""
    found, told = fields(2 if quick else 3), by_hand()
    for n in range(len(found)):
        what = f"heavy ball, any momentum: f_{n} of the engine - by hand"
        yield identity(what, scalar(found[n] - told[n]))
    wrong = by_hand(sp.Rational(1, 4))[2]
    what = "f_2 with T[g, g]/4 in the place of T[g, g]/12"
    yield identity(what, scalar(found[2] - wrong), control=True)
    plain = [term.subs(b, 0) for term in told]
    # A step forward less momentum times the step before.
    for said, field, steps in (
        ("gradient descent: eta^{} of exp(eta D) q - q + eta g", plain, {1: 1}),
        (
            "heavy ball: eta^{} of exp(eta D) q - q - beta [q - exp(-eta D) q] + eta g",
            told,
            {1: 1, -1: b},
        ),
    ):
        for n in range(1, 3 if quick else 5):
            rest = _steps(field, steps, n) + (G if n == 1 else 0)
            yield identity(said.format(n), scalar(rest))
    gradient = Inner(G, G) / 4
    what = "f_1 of gradient descent + grad |grad F|^2/4"
    yield identity(what, scalar(plain[1] + sp.diff(gradient, q)))


def _steps(field: Sequence[Any], steps: dict[int, Any], n: int) -> Any:
    """The coefficient of eta^n in the sum of weight exp(step eta D) q.

    By applying D = sum_i eta^i D_i repeatedly, D_i the derivative along f_i.
    """
    series = [q] + [sp.S.Zero] * n
    total = sp.S.Zero
    for j in range(1, n + 1):
        # D lowers nothing: the coefficient k of D s has all s_(k - i) along f_i.
        series = [
            sp.Add(
                *(
                    variation(series[k - i], {q: field[i]})
                    for i in range(min(k, len(field) - 1) + 1)
                    if series[k - i] != 0
                )
            )
            for k in range(n + 1)
        ]
        weight = sp.Add(*(c * sp.Integer(step) ** j for step, c in steps.items()))
        total += weight * series[n - j] / sp.factorial(j)
    return total


def quadratic_identities() -> Iterator[Claim]:
    """Where the series is a logarithm, and converges only for eta |h| < 1."""
    x, h = coordinates("x"), sp.Symbol("h", positive=True)
    found = modified_flow({x: x - eta * h * x}, 4)
    logarithm = sp.series(sp.log(1 - eta * h) / eta, eta, 0, 5).removeO()
    what = "quadratic loss: series through eta^4 - that of ln(1 - eta h)/eta"
    yield identity(what, sp.expand(found.velocity[x] / x - logarithm))
    heavy = modified_flow(Recursion({x: -eta * h * x}, b), 3).terms
    # The steps multiply by z with z^2 - (1 + beta - eta h) z + beta = 0; the flow by
    # exp of its rate, whose coefficients are z_k = sum_j (j/k) y_j z_(k - j).
    y = [sp.S.Zero, *(sp.cancel(term[x] / x) for term in heavy)]
    z = [sp.S.One]
    for k in range(1, 5):
        grown = (sp.Rational(j, k) * y[j] * z[k - j] for j in range(1, k + 1))
        z.append(sp.cancel(sp.Add(*grown)))
    what = "quadratic loss, momentum: characteristic equation of the flow, to eta^4"
    rest = sp.S.Zero
    for k in range(5):
        squared = sp.Add(*(z[j] * z[k - j] for j in range(k + 1)))
        lagged = h * z[k - 1] if k else b
        rest += eta**k * sp.cancel(squared - (1 + b) * z[k] + lagged)
    yield identity(what, rest)


# ------------------------------------------------------------------ decay


def symmetric(loss: Loss, order: int) -> list[Any]:
    """f_n of gradient descent on loss + lambda/2 |q|^2."""
    recursion = {q: q - eta * (loss.gradient(q) + weight_decay * q)}
    return [term[q] for term in modified_flow(recursion, order).terms]


def decay_identities(quick: bool) -> Iterator[Claim]:
    """How a charge decays in the flow of each order."""
    highest = 2 if quick else 3
    shifted = Translation("q").loss
    for n, f in enumerate(symmetric(shifted, highest)):
        rate = -(weight_decay ** (n + 1)) / (n + 1)
        what = f"translation: <1, f_{n}> + {_power(n)} <1, q>"
        yield identity(what, _unmoved(Inner(ones, f)) - rate * Inner(ones, q))
    scaled = Scale("q").loss
    slope, rho = scaled.gradient(q), Inner(q, q)
    curved = Inner(slope, along(slope, loss=scaled))
    told = [
        -2 * weight_decay * rho,
        -(weight_decay**2) * rho + Inner(slope, slope),
        -sp.Rational(2, 3) * weight_decay**3 * rho + curved,
    ]
    for n, f in enumerate(symmetric(scaled, highest)):
        moved = sp.expand(by_euler(2 * Inner(q, f)))
        if n < len(told):
            what = f"scale: eta^{n} of (|q|^2)'"
            yield identity(what, sp.expand(moved - told[n]))
        what = f"scale: rate of |q|^2 at eta^{n} + 2 {_power(n)}"
        rate = 2 * weight_decay ** (n + 1) / (n + 1)
        yield identity(what, moved.coeff(rho) + rate)
    what = "scale: rate of |q|^2 at eta^1 + lambda^2/2"
    second = sp.expand(by_euler(2 * Inner(q, symmetric(scaled, 1)[1])))
    yield identity(what, second.coeff(rho) + weight_decay**2 / 2, control=True)
    moved = q - eta * (slope + weight_decay * q)
    exact = (1 - eta * weight_decay) ** 2 * rho + eta**2 * Inner(slope, slope)
    what = "scale: |q|^2 after a step - (1 - eta lambda)^2 |q|^2 - eta^2 |g|^2"
    yield identity(what, sp.expand(Inner(moved, moved) - exact))
    yield from _equilibria()


def _power(n: int) -> str:
    return f"lambda^{n + 1}/{n + 1}" if n else "lambda"


def _equilibria() -> Iterator[Claim]:
    """|q|^4 where it rests, with |g|^2 = G/|q|^2, by the steps and by the flow."""
    squared, G0 = sp.symbols("R G", positive=True)  # |q|^4 and G
    lam = weight_decay
    steps = (1 - eta * lam) ** 2 * squared + eta**2 * G0 - squared
    told = eta * G0 / (2 * lam - eta * lam**2)
    yield identity("scale: |q|^4 at rest, by the steps", steps.subs(squared, told))
    flow = -(2 * lam + eta * lam**2) * squared + eta * G0
    what = "scale: |q|^4 at rest, by the flow through eta, as by the steps"
    yield identity(what, flow.subs(squared, told), control=True)


def _unmoved(expression: Any) -> Any:
    """<1, D^k grad f[...]> is zero where f does not change along 1."""

    def gone(inner: Any) -> Any:
        pair = set(inner.args)
        if ones in pair and any(isinstance(a, Gradient) for a in pair):
            return sp.S.Zero
        return inner

    return sp.sympify(expression).replace(lambda e: isinstance(e, Inner), gone)


def by_euler(expression: Any) -> Any:
    """Without q as a direction: grad f has degree -1, D^(k-1) grad f degree -k.

    So D^k grad f[q, ...] = -k D^(k-1) grad f[...], also inside of other directions.
    """
    expression = sp.sympify(expression)
    while True:
        again = _once(expression)
        if again == expression:
            return again
        expression = again


def _once(expression: Any) -> Any:
    if isinstance(expression, Gradient):
        directions = [_once(d) for _, d in expression.directions]
        if q in directions:
            directions.remove(q)
            count = len(directions) + 1
            return -count * along(*directions, loss=expression.loss)
        return along(*directions, loss=expression.loss)
    if isinstance(expression, Inner):
        left, right = (_once(a) for a in expression.args)
        for one, other in ((left, right), (right, left)):
            if one == q and isinstance(other, Gradient) and other.directions:
                first, *rest = [d for _, d in other.directions]
                count = len(rest) + 1
                return -count * Inner(first, along(*rest, loss=other.loss))
        return Inner(left, right)
    if not expression.args or isinstance(expression, Loss):
        return expression
    return expression.func(*map(_once, expression.args))
