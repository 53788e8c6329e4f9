"""What is recorded of the laws in a training step: the inner products in them.

Everything that is said of a law later (its charge, what drives it, the residual of its
exact discrete form) is algebra on a few inner products of the step's arrays. Those are
recorded, each once for all laws, and none twice: an inner product after one step is the
same inner product before the next. The algebra waits until somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.rule import Rule, metric_block
from lagrangian.learning.training.run import Record, step_rate
from lagrangian.lowering.evaluate import check_lowerable, unit_axis
from lagrangian.lowering.products import inner_products
from lagrangian.symbolic.algebra.blocks import Block, ones
from lagrangian.symbolic.algebra.calculus import pairing
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.laws.discrete import (
    ROLES,
    Steps,
    gain,
    learning_rate,
    momentum,
    role,
    step,
    weight_decay,
)
from lagrangian.symbolic.laws.noether import Law, noether

States = Mapping[str, Mapping[str, Any]]


class Observation:
    """The laws that a run observes, and the inner products that they need.

    Attributes:
        laws: in their order.
        blocks: the blocks of all laws.
        terms: for each law, the expressions of its `Record`.
        carried: inner products of q and the trace alone. Their values after a step are
            their values before the next one.
        others: those that have something of the step itself in them.
    """

    def __init__(
        self,
        laws: Sequence[Law],
        rule: Rule,
        maps: Mapping[Any, Any] | None = None,
    ):
        self.laws, self.rule = tuple(laws), rule
        # Symmetries that were discovered bring the functions of their maps along.
        self.maps: dict[Any, Any] = {}
        for law in self.laws:
            self.maps |= getattr(law.symmetry, "maps", {})
        self.maps |= maps or {}
        self.blocks = list(
            dict.fromkeys(w for law in laws for w in law.lagrangian.coordinates)
        )
        #: Symbols of carried products after the step.
        self._after: dict[sp.Symbol, Any] = {}
        self.terms = {law: self._terms_of(law) for law in self.laws}
        found = [
            node
            for terms in self.terms.values()
            for expression in terms.values()
            for node in sorted(expression.atoms(Inner), key=_sort_key)
            if node.atoms(Block)
        ]
        self.carried = list(dict.fromkeys(self._after.values()))
        self.others = [n for n in dict.fromkeys(found) if n not in self.carried]

    def _terms_of(self, law: Law) -> dict[str, Any]:
        terms = _continuous_terms(law, self.rule) | _discrete_terms(law, self.rule)
        roles = [role(w, name) for w in self.blocks for name in ROLES]
        metrics = [metric_block(w) for w in self.blocks]
        check_lowerable(
            {f"observed {name}": e for name, e in terms.items()},
            [*self.blocks, *roles, *metrics, time, learning_rate, step_rate]
            + [*self.rule.parameters(1.0), *self.maps],
        )
        forward = self._forward()
        return {name: self._rolled(e, forward) for name, e in terms.items()}

    def _forward(self) -> dict[Any, Any]:
        """What the blocks after a step are called before the next one.

        A rule without a memory may call anything its trace before a step.
        """
        names = {role(w, "next"): w for w in self.blocks}
        if self.rule.memory:
            names |= {role(w, "next trace"): role(w, "trace") for w in self.blocks}
        return names

    def _rolled(self, expression: Any, forward: dict[Any, Any]) -> Any:
        """`expression` with one symbol for each inner product of the next state."""
        replaced = {}
        for node in sorted(sp.sympify(expression).atoms(Inner), key=_sort_key):
            if (inside := node.atoms(Block)) and inside <= set(forward):
                before = node.xreplace(forward)
                # The same block may have other units in another law.
                units = unit_axis(before)
                symbol = EngineSymbol(f"{before} by {units} after", real=True)
                self._after[symbol], replaced[node] = before, symbol
        return sp.sympify(expression).xreplace(replaced)

    @property
    def products(self) -> list[Any]:
        """All of them, the carried ones first."""
        return self.carried + self.others

    @property
    def precedes_update(self) -> bool:
        """Whether the products need nothing that only the update makes."""
        known = {role(w, name) for w in self.blocks for name in ("trace", "gradient")}
        used = {w for product in self.products for w in product.atoms(Block)}
        return used <= known | set(self.blocks)

    def step(self, q: Mapping[str, Any], states: States, rate: Any) -> Any:
        """The products of one step, as a vector.

        Args:
            q: the arrays before the step, by name.
            states: for each of the `ROLES`, and for "metric", the arrays by name.
            rate: the learning rate of this step.
        """
        return _joined(self._values(self.products, q, states, rate))

    def closing(self, q: Mapping[str, Any], states: States) -> Any:
        """The carried products of a state, as a vector; `states` has its "trace"."""
        return _joined(self._values(self.carried, q, states, jnp.ones(())))

    def shapes(
        self, q: Mapping[str, Any], states: States, rate: Any
    ) -> list[tuple[int, ...]]:
        """The shape of each of the products."""
        values = jax.eval_shape(
            lambda *at: self._values(self.products, *at), q, states, rate
        )
        return [tuple(v.shape) for v in values]

    def _values(
        self, products: Sequence[Any], q: Mapping[str, Any], states: States, rate: Any
    ) -> list[Any]:
        values: dict[Any, Any] = dict(self.maps)
        for w in self.blocks:
            values[w] = q[w.name]
            for name, arrays in states.items():
                symbol = metric_block(w) if name == "metric" else role(w, name)
                values[symbol] = arrays[w.name]
        # Where the rate is zero nothing moves, and any rate gives the velocity zero.
        shown = jnp.where(rate > 0, rate, 1.0)
        values |= {learning_rate: shown, **self.rule.parameters(shown)}
        return inner_products(products, values)

    def record(
        self,
        law: Law,
        column: Callable[[Any], np.ndarray],
        rates: np.ndarray,
        sizes: Mapping[str, int],
    ) -> Record:
        """What the recorded products say of one law.

        Args:
            law: one of `laws`.
            column: the recorded values of a product, a row a step; one row more for a
                carried one.
            rates: the learning rates, shape (steps,).
            sizes: how many entries each block has.
        """
        terms, steps = self.terms[law], len(rates)
        arrays: dict[Any, np.ndarray] = {}
        for node in {n for e in terms.values() for n in e.atoms(Inner, sp.Symbol)}:
            if node in self._after:
                arrays[node] = column(self._after[node])[1 : steps + 1]
            elif isinstance(node, Inner) and node.atoms(Block):
                arrays[node] = column(node)[:steps]
        shape = max((a.shape[1:] for a in arrays.values()), key=len, default=())
        units = int(np.prod(shape))
        # <1, 1>, the one product without a block, counts entries.
        blocks = law.lagrangian.coordinates
        entries = sum(sizes[w.name] for w in blocks) / len(blocks) / units
        rates = rates.reshape(steps, *[1] * len(shape))
        shown = np.where(rates > 0, rates, 1.0)
        return Record(
            terms,
            {
                n: a.reshape(steps, *(a.shape[1:] or (1,) * len(shape)))
                for n, a in arrays.items()
            },
            {step_rate: rates, learning_rate: shown, Inner(ones, ones): entries}
            | self.rule.parameters(shown),
            (steps, *shape),
        )


def _sort_key(product: Any) -> Any:
    return sp.default_sort_key(product), str(unit_axis(product))


def _joined(values: Sequence[Any]) -> Any:
    if not values:
        return jnp.zeros(0)
    return jnp.concatenate([value.reshape(-1) for value in values])


def _continuous_terms(law: Law, rule: Rule) -> dict[str, Any]:
    """`quantity`, `source`, `raw_source` and `start`, in the `role`s of the blocks."""
    oscillator = law.oscillator if rule.is_euclidean else None
    if oscillator is None:
        quantity, velocity, source = law.charge, law.rate, law.rate
    else:
        quantity, source = oscillator.quantity, oscillator.source
        velocity = law.charge / oscillator.mass
    blocks = law.lagrangian.coordinates
    measured = {w.dot: rule.velocity(w) for w in blocks}
    terms = {
        "quantity": quantity.xreplace(measured),
        "source": source.xreplace(measured),
    }
    raw, start = measured, measured
    if rule.is_euclidean:
        raw = {w.dot: rule.slow_velocity(w) for w in blocks}
        start = {w.dot: rule.starting_velocity(w) for w in blocks}
    return terms | {
        "raw_source": source.xreplace(raw),
        "start": velocity.xreplace(start),
    }


def _discrete_terms(law: Law, rule: Rule) -> dict[str, Any]:
    blocks = law.symmetry.blocks
    # A loss that has no symmetry for certain: its part of the law is measured.
    loss = Loss("f", blocks)
    steps = Steps(loss)
    discrete = noether(steps, law.symmetry)
    measured = {loss.gradient(q): role(q, "gradient") for q in blocks}
    driven = discrete.changes["loss"].xreplace(measured)
    claimed = discrete.kinetic + discrete.changes["decay"] + discrete.friction
    change = steps.total_derivative(step, discrete.charge)
    residual = sp.expand_mul(change - claimed)
    terms = {
        "discrete": residual,
        "defect": driven / gain,
        "balance": residual - driven,
        "kinetic": discrete.kinetic,
        "decay": discrete.changes["decay"],
        **_scales(law),
    }
    values = {
        momentum: sp.sympify(rule.memory),
        gain: sp.sympify(rule.gain),
        weight_decay: sp.sympify(rule.coupled_decay),
    }
    terms |= _metric_terms(law, rule)
    if rule.is_euclidean:
        # The update is what the rule says; that it was made shows in <p', xi(q')>.
        values |= {
            role(w, "update"): step_rate * rule.velocity(w)
            for w in law.lagrangian.coordinates
        }
    return {name: sp.sympify(e).xreplace(values) for name, e in terms.items()}


def _scales(law: Law) -> dict[str, Any]:
    """The bounds of Cauchy and Schwarz, beside which `defect` and all are small."""
    xi = law.symmetry.xi
    later = {q: role(q, "next") for q in xi}

    def bound(name: str, at: Mapping[Any, Any]) -> Any:
        left = {q: role(q, name) for q in xi}
        right = {q: direction.xreplace(at) for q, direction in xi.items()}
        squares = (
            sp.Add(*(pairing(side[q], side[q]) for q in xi)) for side in (left, right)
        )
        return sp.Mul(*map(sp.sqrt, squares))

    defect, before = bound("gradient", {}), bound("trace", {})
    after = bound("next trace", later)
    return {
        "defect_scale": defect,
        "scale": gain * defect + after + momentum * before,
    }


def _metric_terms(law: Law, rule: Rule) -> dict[str, Any]:
    """<u, xi> |p'|^2 - <u, p'> <p', xi>: zero if the update u is along p'."""
    if rule.is_euclidean:
        return {"metric": sp.S.Zero, "metric_scale": sp.S.One}
    xi = law.symmetry.xi

    def along(left: Any, right: Any) -> Any:
        return sp.Add(*(pairing(left(q), right(q)) for q in xi))

    def update(q: Block) -> Any:
        return role(q, "update")

    def covector(q: Block) -> Any:
        return role(q, "next trace")

    def direction(q: Block) -> Any:
        return xi[q]

    length = along(covector, covector)
    return {
        "metric": along(update, direction) * length
        - along(update, covector) * along(covector, direction),
        "metric_scale": sp.sqrt(along(update, update) * along(direction, direction))
        * length,
    }
