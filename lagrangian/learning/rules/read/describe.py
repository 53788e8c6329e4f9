"""What was read of a rule, in words, in ten lines or in a row of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.convex import kinetic_energy
from lagrangian.learning.rules.read.elements import Reading
from lagrangian.learning.rules.read.kind import LENGTH, Kind, P
from lagrangian.learning.rules.read.part import Part
from lagrangian.learning.rules.read.symmetries import NAMES, Kept, symmetries_of
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: Of an expression that is shown; all of it is in `rule.reading`.
_WIDTH = 240
#: The size of a velocity, per learning rate.
speed = EngineSymbol("v", nonnegative=True)

_CALLED = {
    "euclidean": "linear in the gradients of the past",
    "metric": "a metric at the state",
    "convex": "the slope of a convex function of a covector",
    "none": "no kinetic energy",
    "opaque": "no kinetic energy",
}


#: Kinds that have a kinetic energy.
_MOVING = "euclidean", "metric", "convex"

Kinds = Mapping[str, Kind]


def groups(reading: Reading, kinds: Kinds) -> list[tuple[list[str], Part, Kind]]:
    """The arrays that are updated alike, with what was read and derived of them."""
    found: list[tuple[list[str], Part, Kind]] = []
    for leaf, kind in kinds.items():
        part = reading.parts[leaf]
        for leaves, known, _ in found:
            if known.form == part.form:
                leaves.append(leaf)
                break
        else:
            found.append(([leaf], part, kind))
    return found


def summary(reading: Reading, kinds: Kinds) -> str:
    """The rule in a few words."""
    found = [kind for _, _, kind in groups(reading, kinds)]
    names = " and ".join(dict.fromkeys(_CALLED[kind.name] for kind in found))
    rates = {kind.rate for kind in found if kind.name in _MOVING}
    rate = f", eta = {_cut(rates.pop())}" if len(rates) == 1 else ""
    return f"the optax rule ({names}{rate})"


def describe(reading: Reading, kinds: Kinds) -> Iterator[str]:
    """The lines that `print` shows."""
    found = groups(reading, kinds)
    yield f"O{summary(reading, kinds).removeprefix('the o')}"
    if not reading.traced.scales:
        yield "  of small arrays: on larger ones its state has another form"
    for leaves, part, kind in found:
        if len(found) > 1:
            yield f"{', '.join(leaves)}:"
        yield from _lines(part, kind)


def _lines(part: Part, kind: Kind) -> Iterator[str]:
    if part.update is not None:
        yield f"  u = {_cut(part.update)}"
        for state in part.states[:3]:
            yield f"  {state.after} = {_cut(state.update)}"
        if rest := part.states[3:]:
            yield f"  and {', '.join(s.name for s in rest)}"
    yield f"  kinetic energy: {kinetic(kind)}"
    if kind.name in _MOVING:
        yield f"  {_numbers(kind)}"
    covector = kind.covector
    if covector.state is not None:
        kept = covector.state.name
        gain = "" if covector.gain == 1 else f"{covector.gain} "
        force = f"{gain}{_force(covector.decay)}"
        yield f"  balance: p' = {covector.memory} p + {force}, p = {kept}"
    found = symmetries_of(part)
    if found is not None:
        yield f"  keeps {kept_names(found) or 'none of the symmetries'}"
        if broken := _broken(found):
            yield f"  breaks {broken}"


def kinetic(kind: Kind) -> str:
    """The kinetic energy in a line."""
    if kind.name == "euclidean":
        told = ", m below zero: it extrapolates, and no second-order flow follows it"
        return "T = m/2 |v|^2" + (told if kind.runs_away else "")
    if kind.name == "metric":
        return f"T = m/2 <v, D v>, D = {_cut(kind.metric)}"
    if kind.name == "convex":
        try:
            energy = legendre(kind)
        except NotImplementedError as error:
            return f"the Legendre transform of the integral of {kind.slope} ({error})"
        return f"T = {energy}"
    return f"none, as {kind.reason}"


def legendre(kind: Kind) -> Any:
    """T of a convex kind, in `speed`: the velocity per learning rate, or its length."""
    return kinetic_energy(kind.slope, P, LENGTH, speed)


def _numbers(kind: Kind) -> str:
    age = sp.Rational(1, 2) + kind.age
    unit = 1 / kind.response
    parts = [
        f"eta = {_cut(kind.rate)}",
        f"m = {_times(age * unit)} eta",
        f"mu = {unit}",
    ]
    if kind.coupled != 0:
        parts.append(f"decay {kind.coupled} through the gradient")
    if kind.decoupled != 0:
        parts.append(f"decay {_cut(kind.decoupled)} of q itself")
    return ", ".join(parts)


def _times(number: Any) -> str:
    return str(number) if number.is_Rational else _cut(number)


def _force(decay: Any) -> str:
    return "grad f" if decay == 0 else f"(grad f + {decay} q)"


def kept_names(found: dict[str, Kept]) -> str:
    return ", ".join(name for name in NAMES if found[name].holds)


def _broken(found: dict[str, Kept]) -> str:
    parts, seen = [], {}  # type: ignore[var-annotated]
    for name in NAMES:
        if not found[name].holds:
            seen.setdefault(found[name].reason, []).append(name)
    for reason, names in seen.items():
        parts.append(f"{' and '.join(names)} ({reason})")
    return "; ".join(parts)


def _cut(expression: Any) -> str:
    text = str(expression)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def kinetic_latex(part: Part, kind: Kind) -> str:
    """The kinetic energy in LaTeX; empty where there is none."""
    if kind.name == "euclidean":
        return r"T = \frac{m}{2} |v|^2"
    if kind.name == "metric":
        metric = latex_of(kind.metric, part)
        return rf"T = \frac{{m}}{{2}} \langle v, D v \rangle,\quad D = {metric}"
    if kind.name == "convex":
        try:
            return f"T = {sp.latex(legendre(kind), symbol_names={speed: '|v|'})}"
        except NotImplementedError:
            return ""
    return ""


def latex_of(expression: Any, part: Part) -> str:
    """An expression in the symbols of a part, in LaTeX."""
    names = {}
    for symbol in expression.free_symbols:
        if symbol in part.sums:
            kind, term, over = part.sums[symbol]
            names[symbol] = _latex_sum(kind, latex_of(term, part), over)
        else:
            names[symbol] = _latex_name(symbol.name)
    return sp.latex(expression, symbol_names=names)


def _latex_sum(kind: str, term: str, over: str) -> str:
    place = "" if over == "leaf" else rf"_{{\text{{{over}}}}}"
    if kind == "mean":
        return rf"\langle {term} \rangle{place}"
    sign = {"sum": r"\sum", "max": r"\max", "min": r"\min"}.get(
        kind, rf"\mathrm{{{kind}}}"
    )
    return rf"{sign}{place} {term}"


def _latex_name(name: str) -> str:
    bare = name.rstrip("'")
    primes = "'" * (len(name) - len(bare))
    if "_" in bare or (len(bare) > 1 and sp.latex(sp.Symbol(bare)) == bare):
        escaped = bare.replace("_", r"\_")
        return rf"\mathrm{{{escaped}}}{primes}"
    return sp.latex(sp.Symbol(bare)) + primes
