r"""Which symmetries of a loss the kinetic energy breaks, and by what term.

Every symmetry of the table meets every kinetic energy three times: as a law of the
engine, as the change of T along the finite transformation, and along damped flows of a
loss that has the symmetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.flows.lower import lower
from lagrangian.learning.rules.rule import mass
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.dynamics.killing import killing_claims
from lagrangian.theorems.dynamics.kinetic_energies import (
    ENERGIES,
    OPAQUE,
    ROWS,
    UNBROKEN,
    VALUES,
    lagrangian_of,
    plain_energy,
    random_state,
    without_symmetry,
)
from lagrangian.theorems.dynamics.kinetic_flows import (
    flow_claims,
    flow_panels,
    follow_all,
)
from lagrangian.theorems.theorem import (
    Claim,
    Evidence,
    Setting,
    Theorem,
    below,
    order,
)

#: Whose columns of the table are measured.
COLUMNS = tuple(ENERGIES)
STATES = 8
#: T changes along the finite transformation by less than the one, or by more than the
#: other, of itself.
_STILL, _MOVING = 1e-8, 1e-2
_DISTANCE = 2e-4

Laws = Mapping[tuple[str, str], Law]


# ------------------------------------------------------------------ derivation


def laws() -> Laws:
    """The law of every row under every kinetic energy."""
    return {
        (energy, name): noether(lagrangian_of(energy, row.symmetry), row.symmetry)
        for energy in ENERGIES
        for name, row in ROWS.items()
    }


def _kinetic(law: Law) -> Any:
    return sp.expand(law.kinetic)


def _derivation(found: Laws) -> tuple[str, ...]:
    """The general term, the table, and what a potential makes of two rows."""
    lines = [
        r"\delta T = \tfrac m2\,(\mathcal L_\xi G)(\dot q, \dot q), \qquad "
        r"(\mathcal L_\xi G)_{ij} = \xi^k\partial_k G_{ij} + G_{kj}\partial_i\xi^k + "
        r"G_{ik}\partial_j\xi^k",
        r"\text{symmetry}:\quad \delta T\ (T = \tfrac m2|\dot q|^2) \quad\big|\quad "
        r"\delta T\ (T = \tfrac m2\langle\dot q, G\,\dot q\rangle)",
    ]
    for row in ROWS:
        both = (_kinetic(found[energy, row]) for energy in ("Euclidean", "diagonal"))
        euclidean, metric = map(sp.latex, both)
        lines.append(rf"\text{{{row}}}:\quad {euclidean} \quad\big|\quad {metric}")
    for energy, row in (
        ("Hess h", "translation"),
        ("Hess h", "scale"),
        ("metric 1/q", "scale"),
        ("metric 1/q^2", "scale"),
        ("Bregman, h", "translation"),
    ):
        term = sp.latex(_kinetic(found[energy, row]))
        name = energy.replace("^2", "²")
        lines.append(rf"\text{{{name}, {row}}}:\quad \delta T = {term}")
    return tuple(lines)


# ------------------------------------------------------------------ the table


def _along(row: str, seed: int) -> tuple[Any, Any]:
    """Random states moved by the finite transformation, to and fro.

    Arrays by block of positions and of velocities, of shape (places, states, ...): the
    middle place is where a state has not moved.
    """
    states = [random_state(row, STATES * seed + i) for i in range(STATES)]
    start = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def moved(s: Any) -> Any:
        return jax.vmap(
            lambda q, v: jax.jvp(lambda w: ROWS[row].flow(s, w), (q,), (v,))
        )(*start)

    return jax.jit(jax.vmap(moved))(_DISTANCE * jnp.arange(-2.0, 3.0))


def _law_says(law: Law, along: tuple[Any, Any]) -> np.ndarray:
    q, v = jax.tree.map(lambda leaf: leaf[2], along)
    terms = jax.vmap(lower(law, VALUES, losses=OPAQUE))(q, v)
    return np.broadcast_to(np.asarray(terms["kinetic"], float), STATES)


def _flow_says(energy: str, along: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """T, and its derivative along the finite transformation by differences."""
    T = np.asarray(jax.vmap(jax.vmap(partial(plain_energy, energy)))(*along))
    slope = (T[0] - 8 * T[1] + 8 * T[3] - T[4]) / (12 * _DISTANCE)
    return T[2], slope


def _listed(rows: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(rows) or "none"


def _same(what: str, predicted: str, measured: str, control: bool = False) -> Claim:
    holds = predicted == measured
    return Claim(what, predicted, measured, "the same", holds, control)


def _table_claims(found: Laws, seed: int) -> Iterator[Claim]:
    """For each energy: the terms agree, and so does what they say of the rows."""
    euclidean = _listed(UNBROKEN["Euclidean"])
    along = {row: _along(row, seed) for row in ROWS}
    for energy in COLUMNS:
        errors, changes = [], {}
        for row in ROWS:
            T, change = _flow_says(energy, along[row])
            said = _law_says(found[energy, row], along[row])
            errors.append(np.abs((change - said) / T).max())
            changes[row] = np.abs(change / T).max()
        what = f"{energy}: change of T by the finite maps - kinetic terms, share of T"
        yield below(what, max(errors), _STILL)
        stated = _listed(UNBROKEN[energy])
        derived = _listed(r for r in ROWS if _kinetic(found[energy, r]) == 0)
        yield _same(f"{energy}: unbroken, as derived", stated, derived)
        unclear = any(_STILL < x < _MOVING for x in changes.values())
        still = _listed(r for r in ROWS if changes[r] <= _STILL)
        measured = f"{still}, and some unclear" if unclear else still
        yield _same(f"{energy}: unbroken, by the finite maps", stated, measured)
        if energy != "Euclidean":
            what = f"{energy}: unbroken, as if it were Euclidean"
            yield _same(what, euclidean, measured, control=True)


def _loss_claims(seed: int) -> Iterator[Claim]:
    """The losses of the rows have the symmetries; with another term they lack them."""
    kept, spoilt = [], []
    for name, row in ROWS.items():
        q, _ = random_state(name, seed)
        there = row.flow(0.1, q)
        before, after = ([w[b.name] for b in row.symmetry.blocks] for w in (q, there))
        kept.append(float(row.loss(*after) - row.loss(*before)))
        lacking = without_symmetry(row.loss)
        spoilt.append(float(lacking(*after) - lacking(*before)))
    yield below("change of the losses by the finite maps", max(map(abs, kept)), 1e-12)
    what = "change of losses without the symmetries"
    yield below(what, min(map(abs, spoilt)), 1e-12, control=True)


def _limit_claim(found: Laws, seed: int) -> Claim:
    """The Bregman kinetic term goes to that of the metric Hess h with the mass."""
    masses, errors = (0.04, 0.02, 0.01), []
    state = random_state("translation", seed)
    for m in masses:
        values = VALUES | {mass: m}
        bregman, metric = (
            lower(found[energy, "translation"], values, losses=OPAQUE)(*state)[
                "kinetic"
            ]
            for energy in ("Bregman, h", "Hess h")
        )
        errors.append(abs(float(bregman / metric) - 1))
    what = "Bregman, h against Hess h, translation: order in m"
    return order(what, 1, masses, errors)


def _prove(setting: Setting) -> Evidence:
    setting.report("Deriving the law of every symmetry under every kinetic energy.")
    found = laws()
    claims = killing_claims()
    with jax.enable_x64(True):
        setting.report("Moving states along the finite symmetries.")
        claims += _table_claims(found, setting.seed)
        claims += _loss_claims(setting.seed)
        claims.append(_limit_claim(found, setting.seed))
    followed = follow_all(found, setting.seed, setting.report)
    claims += flow_claims(followed)
    return Evidence(_derivation(found), tuple(claims), flow_panels(followed))


THEOREM = Theorem(
    name="kinetic-symmetry-breaking",
    title="A kinetic energy keeps those symmetries of the loss that are its isometries",
    statement=r"""Let a generator $\xi$ leave the loss alone, and let
$L = e^{\mu t/m}(T - f)$ with $T = \frac m2\langle\dot q, G(q)\dot q\rangle$. The charge
$c = \langle\partial T/\partial\dot q, \xi\rangle$ obeys
$$\dot c + \frac\mu m c = \frac m2 (\mathcal L_\xi G)(\dot q, \dot q),$$
so that $e^{\mu t/m}c$ is constant for every motion exactly when $\xi$ is a Killing
field of $G$. For the Bregman kinetic energy
$e^{\alpha} D_h(q + e^{-\alpha}\dot q, q)$ and
$D = \nabla h(q + e^{-\alpha}\dot q) - \nabla h(q)$ the right side is
$\langle D, \dot\xi\rangle + e^\alpha\langle D - e^{-\alpha}\nabla^2 h\,\dot q,
\xi\rangle$. What is unbroken, of the symmetries of learning:

| kinetic energy | unbroken |
|---|---|
| Euclidean | translation, rotation, antisymmetric GL (layers and attention) |
| constant diagonal metric (RMSProp, held fixed) | translation |
| $\nabla^2 h$ or Bregman, any $h$ | none |
| metric $h''$, elementwise | $1/\sqrt{h''}$: if $h'' = 1/q$, translating $\sqrt q$ |
| metric $1/q^2$, the $h''$ of $-\log q$ | scale, rescale |
| Bregman, $h$ a function of $\lvert q\rvert$ | rotation, antisymmetric GL |

Scale moves a $T$ that is homogeneous of degree $p$ in $(q, \dot q)$ by $pT$: $p = 2$
for the Euclidean one, $1$ for $h = q\log q - q$, and $0$ for $-\log q$.""",
    source="Tanaka & Kunin, Noether's Learning Dynamics: Role of Symmetry Breaking in "
    "Neural Networks (2021); for the Bregman Lagrangian Wibisono, Wilson & Jordan, A "
    "variational perspective on accelerated methods in optimization (2016).",
    prove=_prove,
)
