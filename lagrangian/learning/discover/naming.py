"""What a generator is called: its family, and a sentence with parameter paths."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.terms import ABSORB, ANTISYMMETRIC, SCALE, Term

#: Terms with their coefficients.
Terms = Sequence[tuple[Term, float]]


def family(generator: Generator) -> str:
    """The name of its symmetry in laws and tables."""
    if generator.is_matrix:
        turns = generator.terms[0][0].action == ANTISYMMETRIC
        return "rotation" if turns else "general linear (symmetric)"
    if generator.terms[0][0].action != SCALE:
        return "translation"
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
    if generator.is_matrix:
        turns = first[0].action == ANTISYMMETRIC
        how = "rotation of" if turns else "symmetric mixing of"
        units = "units k" if len(generator.units) == 1 else "units k2, for each k1,"
        return f"{how} the {units} of {_listed(terms)}"
    moved = [t for t in terms if t[0].action != ABSORB]
    absorbed = [term for term, _ in terms if term.action == ABSORB]
    sides = [[t for t in moved if t[1] * sign > 0] for sign in (1, -1)]
    one, other = sorted(sides, key=lambda side: (not side, _reads(side)))
    scales = first[0].action == SCALE
    verb = ("rescale" if other else "scale of") if scales else "shift of"
    known = paths if verb == "rescale" else ()
    text = f"{verb} {_listed(one, known)}"
    if other:
        text += f" against {_listed(other, known)}"
    if absorbed:
        text += f", absorbed by {', '.join(dict.fromkeys(t.path for t in absorbed))}"
    if generator.unused:
        text += ", which the loss does not depend on"
    return text


def _reads(terms: Terms) -> bool:
    """Whether none of the arrays has the units on its last axis, as what writes has."""
    return not any(_is_written(term) for term, _ in terms)


def _is_written(term: Term) -> bool:
    """Whether the units are those that the array's layer puts out."""
    shape, axes = term.view.shape, term.view.axes
    return axes == tuple(range(len(shape) - len(axes), len(shape)))


def _listed(terms: Terms, paths: Collection[str] = ()) -> str:
    """The terms, each bias with the array that it belongs to.

    Where `paths` are given, the columns and rows of matrices are called units and rows.
    """
    owners = {term.path: _bias(term, c, terms) for term, c in terms}
    biases = set(owners.values())
    names = []
    for term, coefficient in terms:
        if term.path in biases:
            continue
        times = "" if abs(coefficient) == 1 else f"{abs(coefficient):.4g} x "
        names.append(times + _name(term, owners[term.path], paths))
    return ", ".join(names)


def _name(term: Term, bias: str | None, paths: Collection[str]) -> str:
    view = term.view
    layer, _, kind = view.path.rpartition(".")
    if kind == "kernel" and paths and len(view.shape) == 2 and not view.split:
        if view.axes == (0,):
            return f"{layer} row k"
        if view.axes == (1,) and (bias or f"{layer}.bias" not in paths):
            return f"{layer} unit k"
    whole = f"{view.path}{view.index()}"
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
