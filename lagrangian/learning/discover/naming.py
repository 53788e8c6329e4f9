"""What a generator is called: its family, and a sentence with parameter paths."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.stretches import Stretch
from lagrangian.learning.discover.terms import (
    ABSORB,
    CENTRED,
    SCALE,
    SHIFT,
    SYMMETRIC,
    TURN,
    Term,
)
from lagrangian.learning.discover.units import View

#: Terms with their coefficients.
Terms = Sequence[tuple[Term, float]]


def family(generator: Generator) -> str:
    """The name of its symmetry in laws and tables."""
    if isinstance(generator, Stretch):
        return f"{generator.activation} rescale"
    if generator.is_matrix:
        mixes = generator.terms[0][0].action == SYMMETRIC
        return "general linear (symmetric)" if mixes else "rotation"
    actions = {term.action for term, _ in generator.terms}
    if not actions & {SCALE, TURN}:
        return "translation"
    if TURN in actions:
        return "turn"
    signs = {coefficient > 0 for _, coefficient in generator.terms}
    return "scale" if len(signs) == 1 else "rescale"


def describe(generator: Generator, paths: Collection[str]) -> str:
    """What moves against what, unit by unit.

    Args:
        generator: what was found.
        paths: of all parameters of the model. A unit of a layer is named as one where
            nothing of it stays behind.
    """
    terms = generator.terms
    first, *_ = terms
    flat = all(term.view.is_one_axis for term, _ in terms) and not generator.is_matrix
    if generator.is_matrix:
        how = "symmetric mixing" if first[0].action == SYMMETRIC else "rotation"
        if first[0].action == CENTRED:
            how += " that keeps the mean"
        how += " of"
        units = "units k" if len(generator.units) == 1 else "units k2, for each k1,"
        return f"{how} the {units} of {_listed(terms, flat)}"
    moved = [t for t in terms if t[0].action != ABSORB]
    absorbed = [term for term, _ in terms if term.action == ABSORB]
    turned = [t for t in terms if t[0].action == TURN]
    kept = [t for t in moved if t[0].action == (SCALE if _scales(terms) else SHIFT)]
    if turned:
        text = f"turn of {_pairs(turned, flat)}"
        if kept:
            text += f", with {_listed(kept, flat)}"
    else:
        sides = [[t for t in kept if t[1] * sign > 0] for sign in (1, -1)]
        one, other = sorted(sides, key=lambda side: (not side, _reads(side)))
        verb = ("rescale" if other else "scale of") if _scales(terms) else "shift of"
        known = paths if verb == "rescale" else ()
        text = f"{verb} {_listed(one, flat, known)}"
        if other:
            text += f" against {_listed(other, flat, known)}"
    if shifted := [t for t in moved if t[0].action == SHIFT and t not in kept]:
        text += f", with a shift of {_listed(shifted, flat)}"
    if absorbed:
        text += f", absorbed by {', '.join(dict.fromkeys(t.path for t in absorbed))}"
    if isinstance(generator, Stretch):
        text += f", through {generator.activation} of {first[0].path}"
    if generator.unused:
        text += ", which the loss does not depend on"
    return text


def _scales(terms: Terms) -> bool:
    return any(term.action == SCALE for term, _ in terms)


def _pairs(terms: Terms, flat: bool) -> str:
    """What turns into what."""
    named: dict[frozenset[str], list[str]] = {}
    for term, _ in terms:
        source = f"{term.view.path}{term.view.index(flat)}"
        moved = f"{term.path}{View(term.moved, term.view.axes).index(flat)}"
        named.setdefault(frozenset((source, moved)), sorted((source, moved)))
    return ", ".join(" into ".join(pair) for pair in named.values())


def _reads(terms: Terms) -> bool:
    """Whether none of the arrays has the units on its last axis, as what writes has."""
    return not any(_is_written(term) for term, _ in terms)


def _is_written(term: Term) -> bool:
    """Whether the units are those that the array's layer puts out."""
    piece, axes = term.view.piece, term.view.axes
    last = len(piece.whole) - 1
    return all(piece.origins[a] == last for a in axes) or axes == tuple(
        range(len(piece.shape) - len(axes), len(piece.shape))
    )


def _listed(terms: Terms, flat: bool, paths: Collection[str] = ()) -> str:
    """The terms, each bias with the array that it belongs to.

    Args:
        terms: with their coefficients.
        flat: whether units have one number, where an axis has factors.
        paths: where given, columns and rows of matrices are called units and rows.
    """
    owners = [_bias(term, c, terms) for term, c in terms]
    biases = {(bias, c) for bias, (_, c) in zip(owners, terms, strict=True)}
    names = []
    for bias, (term, coefficient) in zip(owners, terms, strict=True):
        if (term.path, coefficient) in biases:
            continue
        times = "" if abs(coefficient) == 1 else f"{abs(coefficient):.4g} x "
        names.append(times + _name(term, bias, flat, paths))
    return ", ".join(names)


def _name(term: Term, bias: str | None, flat: bool, paths: Collection[str]) -> str:
    view = term.view
    layer, _, kind = view.path.rpartition(".")
    if kind == "kernel" and paths and len(view.piece.whole) == 2 and flat:
        (axis,) = view.axis_by_units.values()
        if axis == 0 and view.piece.is_all:
            return f"{layer} row k"
        if axis == 1 and view.piece.is_all and (bias or f"{layer}.bias" not in paths):
            return f"{layer} unit k"
    whole = f"{view.path}{view.index(flat)}"
    return f"{whole} with its bias" if bias else whole


def _bias(term: Term, coefficient: float, terms: Terms) -> str | None:
    """The bias that moves along, if the term is the one array that it can belong to."""
    layer = term.path.rpartition(".")[0]
    siblings = [
        other.path
        for other, c in terms
        if other.path.rpartition(".")[0] == layer and c == coefficient
    ]
    path = f"{layer}.bias"
    if term.path == path or set(siblings) != {term.path, path} or len(siblings) != 2:
        return None
    return path if _is_written(term) else None
