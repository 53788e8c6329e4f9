"""What a verified theorem is made of: claims, evidence, and a verdict."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.checking.convergence import regression
from lagrangian.prompt import AtPrompt, formula, line, prose
from lagrangian.tables import html_table, markdown_table, text_table

VERIFIED, REFUTED = "verified", "refuted"
_PACKAGES = ("lagrangian", "jax", "flax", "optax", "sympy", "diffrax", "numpy")


@dataclass(frozen=True)
class Claim:
    """One statement that a theorem makes about a number, and what was found.

    A control is the same statement where a hypothesis is broken: it must not hold.
    """

    what: str
    predicted: float | str
    measured: float | str
    criterion: str
    holds: bool
    is_control: bool = False

    @property
    def is_as_expected(self) -> bool:
        """Whether it holds, or fails if it is a control."""
        return self.holds != self.is_control


def close(
    what: str,
    predicted: float,
    measured: float,
    tolerance: float,
    *,
    relative: bool = True,
    control: bool = False,
) -> Claim:
    """The measured number is the predicted one, within `tolerance` of it."""
    size = abs(predicted) if relative else 1.0
    holds = bool(abs(measured - predicted) <= tolerance * size)
    criterion = f"within {tolerance:.2%}" if relative else f"within {tolerance:g}"
    return Claim(what, float(predicted), float(measured), criterion, holds, control)


def below(what: str, measured: float, bound: float, *, control: bool = False) -> Claim:
    """The measured number is zero, up to `bound`."""
    holds = bool(abs(measured) <= bound)
    return Claim(what, 0.0, float(measured), f"below {bound:.1e}", holds, control)


def equal(what: str, predicted: Any, measured: Any, *, control: bool = False) -> Claim:
    """Two whole numbers, or rows of them, are the same."""
    holds = predicted == measured
    return Claim(what, str(predicted), str(measured), "equal", holds, control)


def identity(what: str, residual: Any, *, control: bool = False) -> Claim:
    """A SymPy expression is zero for every value of its symbols."""
    residual = sp.simplify(sp.sympify(residual))
    return Claim(what, "0", str(residual), "identically", bool(residual == 0), control)


def order(
    what: str,
    predicted: float,
    rates: Sequence[float] | np.ndarray,
    errors: Sequence[float] | np.ndarray,
    tolerance: float = 0.15,
    *,
    control: bool = False,
) -> Claim:
    """The errors vanish like the learning rate to the power `predicted`.

    By the regression of log error on log rate, with its confidence interval.
    """
    found = regression(rates, errors)
    holds = bool(abs(found.value - predicted) <= tolerance)
    criterion = f"within {tolerance:g} (95% interval: ± {found.uncertainty:.2g})"
    return Claim(what, float(predicted), found.value, criterion, holds, control)


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    `style` is "measured", "predicted" or "control"; or, without a line, "points" or
    "control points".
    """

    label: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    style: str = "measured"


@dataclass(frozen=True)
class Panel:
    """One diagram of a theorem's figure."""

    title: str
    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    xlog: bool = False
    ylog: bool = False


@dataclass(frozen=True, repr=False)
class Evidence(AtPrompt):
    """What one verification found.

    Attributes:
        derivation: what the engine derived, in LaTeX, a line each.
        claims: of which at least one is a control.
        panels: of the figure.
    """

    derivation: tuple[str, ...]
    claims: tuple[Claim, ...]
    panels: tuple[Panel, ...]

    _next = "`.claims`, `.derivation`, `.panels`"

    def __str__(self) -> str:
        expected = sum(claim.is_as_expected for claim in self.claims)
        return (
            f"Evidence({len(self.derivation)} lines derived; {expected} of "
            f"{len(self.claims)} claims as expected; {len(self.panels)} panels)"
        )

    def _in_notebook(self) -> Iterable[str]:
        yield from map(formula, self.derivation)
        yield from super()._in_notebook()

    @classmethod
    def of(cls, derivation: Sequence[str], found: Sequence[Claim | Panel]) -> Evidence:
        """Of claims and panels in one list, each kind in its order."""
        return cls(
            tuple(derivation),
            tuple(item for item in found if isinstance(item, Claim)),
            tuple(item for item in found if isinstance(item, Panel)),
        )


@dataclass(frozen=True)
class Setting:
    """What a verification is run with.

    Attributes:
        seed: of everything random.
        quick: for at most ten seconds: fewer sizes and shorter runs, with a claim and a
            control of each kind.
        report: is told what is being done, a sentence at a time.
        subject: a user's own (model, loss, data), for theorems that take one.
    """

    seed: int = 0
    quick: bool = False
    report: Callable[[str], None] = lambda sentence: None
    subject: tuple[Any, Any, Any] | None = None


@dataclass(frozen=True)
class Theorem:
    """A result of the theory, and the function that verifies it.

    Attributes:
        name: as `lagrangian verify` takes it.
        title: one line.
        statement: in Markdown with LaTeX.
        source: the paper.
        prove: (setting) -> evidence.
        takes_subject: whether it can be verified on a user's own network and data.
        has_quick: whether `prove` heeds `setting.quick`.
    """

    name: str
    title: str
    statement: str
    source: str
    prove: Callable[[Setting], Evidence]
    takes_subject: bool = False
    has_quick: bool = False


@dataclass(frozen=True, repr=False)
class Verification(AtPrompt):
    """A theorem with the evidence for it; prints as a table.

    Attributes:
        theorem, evidence: what was verified, and what was found.
        seed: of everything random.
        seconds: how long it took.
        quick: whether it was the shorter version.
        versions: of Python and the packages that computed it, by name.

    >>> import lagrangian as lg
    >>> from lagrangian.theorems.catalogue import theorem
    >>> from lagrangian.theorems.theorem import Evidence, close
    >>> claims = close("a", 1.0, 1.0, 0.1), close("b", 1.0, 2.0, 0.1, control=True)
    >>> found = lg.Verification(theorem("equilibrium"), Evidence.of((), claims), 0, 1.0)
    >>> found.holds, found.verdict
    (True, 'verified')
    """

    theorem: Theorem
    evidence: Evidence
    seed: int
    seconds: float
    quick: bool = False
    versions: dict[str, str] = field(
        default_factory=lambda: (
            {name: version(name) for name in _PACKAGES}
            | {"python": platform.python_version()}
        )
    )

    @property
    def holds(self) -> bool:
        """Whether every claim holds, and every control fails."""
        claims = self.evidence.claims
        has_control = any(claim.is_control for claim in claims)
        return has_control and all(claim.is_as_expected for claim in claims)

    @property
    def verdict(self) -> str:
        """ "verified" or "refuted"."""
        return VERIFIED if self.holds else REFUTED

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text, the header first: a row a claim, its verdict last."""
        cells = [("claim", "predicted", "measured", "criterion", "verdict")]
        for claim in self.evidence.claims:
            verdict = "holds" if claim.holds else "fails"
            if claim.is_control:
                verdict = "HELD" if claim.holds else "fails, as it must"
            elif not claim.holds:
                verdict = "FAILS"
            what = f"control: {claim.what}" if claim.is_control else claim.what
            numbers = _number(claim.predicted), _number(claim.measured)
            cells.append((what, *numbers, claim.criterion, verdict))
        return cells

    _next = "`.figure()`, `.to_json()`, `.evidence.claims`"

    def _ending(self) -> str:
        how = f"seed {self.seed}, quick" if self.quick else f"seed {self.seed}"
        return f"{self.theorem.name}: {self.verdict} ({how})"

    def __str__(self) -> str:
        theorem = self.theorem
        return "\n".join(
            [theorem.title, f"Source: {theorem.source}", ""]
            + [*text_table(self.cells()), "", self._ending()]
        )

    def _in_notebook(self) -> Iterable[str]:
        theorem = self.theorem
        yield prose(f"**{theorem.title}**\n\n{theorem.statement}")
        yield line(f"Source: {theorem.source}")
        yield from map(formula, self.evidence.derivation)
        yield html_table(self.cells())
        yield line(self._ending())

    def to_markdown(self) -> str:
        """The statement, what was derived, and the table of claims."""
        theorem = self.theorem
        derived = [f"$${line}$$" for line in self.evidence.derivation]
        return "\n".join(
            [f"**{theorem.title}**", "", theorem.statement, "", theorem.source, ""]
            + [*derived, "", *markdown_table(self.cells()), "", self._ending()]
        )

    def to_json(self) -> str:
        """The statement, every number, seeds and versions."""
        theorem = self.theorem
        return json.dumps(
            {
                "name": theorem.name,
                "title": theorem.title,
                "statement": theorem.statement,
                "source": theorem.source,
                "verdict": self.verdict,
                "derivation": list(self.evidence.derivation),
                "claims": [asdict(claim) for claim in self.evidence.claims],
                "seed": self.seed,
                "quick": self.quick,
                "seconds": round(self.seconds, 2),
                "versions": self.versions,
            },
            indent=2,
        )

    def figure(self) -> Any:
        """The panels, as a matplotlib figure."""
        from lagrangian.plots import plot_panels

        return plot_panels(self.evidence.panels, self.theorem.title)

    def thumbnail(self) -> Any:
        """The first panel, small and without words, as a matplotlib figure."""
        from lagrangian.plots import plot_thumbnail

        return plot_thumbnail(self.evidence.panels[0])


def _number(value: float | str) -> str:
    """As a table shows it; `to_json` has the whole of a long expression."""
    if isinstance(value, str):
        return value if len(value) <= 48 else value[:45] + "..."
    return f"{value:.4g}"
