"""What a generator is called: its family, and a sentence with parameter paths."""

from __future__ import annotations

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.terms import ABSORB, ANTISYMMETRIC, SCALE, Term


def family(generator: Generator) -> str:
    """The name of its symmetry in laws and tables."""
    if generator.is_matrix:
        turns = generator.terms[0][0].action == ANTISYMMETRIC
        return "rotation" if turns else "general linear (symmetric)"
    if generator.terms[0][0].action != SCALE:
        return "translation"
    signs = {coefficient > 0 for _, coefficient in generator.terms}
    return "scale" if len(signs) == 1 else "rescale"


def describe(generator: Generator) -> str:
    """What moves against what, unit by unit."""
    terms = generator.terms
    first, *_ = terms
    if generator.is_matrix:
        turns = first[0].action == ANTISYMMETRIC
        how = "rotation of" if turns else "symmetric mixing of"
        return f"{how} the units k of {_listed(terms)}"
    grown = [t for t in terms if t[1] > 0 and t[0].action != ABSORB]
    shrunk = [t for t in terms if t[1] < 0 and t[0].action != ABSORB]
    absorbed = [term for term, _ in terms if term.action == ABSORB]
    scales = first[0].action == SCALE
    verb = ("rescale" if shrunk else "scale of") if scales else "shift of"
    text = f"{verb} {_listed(grown or shrunk)}"
    if grown and shrunk:
        text += f" against {_listed(shrunk)}"
    if absorbed:
        text += f", absorbed by {', '.join(dict.fromkeys(t.path for t in absorbed))}"
    if generator.unused:
        text += ", which the loss does not depend on"
    return text


def _listed(terms: list[tuple[Term, float]] | tuple[tuple[Term, float], ...]) -> str:
    return ", ".join(
        ("" if abs(c) == 1 else f"{abs(c):.4g} x ") + term.view.path + term.view.index()
        for term, c in terms
    )
