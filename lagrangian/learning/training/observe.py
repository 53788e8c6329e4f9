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
from lagrangian.learning.training.across import Across, across
from lagrangian.learning.training.groups import Rules
from lagrangian.learning.training.run import Record, step_rate
from lagrangian.learning.training.terms import continuous_terms, discrete_terms
from lagrangian.lowering.evaluate import check_lowerable, unit_axis
from lagrangian.lowering.platform import float64
from lagrangian.lowering.products import inner_products, product_shapes
from lagrangian.symbolic.algebra.blocks import Block, ones
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.laws.discrete import ROLES, learning_rate, role
from lagrangian.symbolic.laws.noether import Law

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
        rules: Rules,
        maps: Mapping[Any, Any] | None = None,
    ):
        self.laws, self.rules, self.rule = tuple(laws), rules, rules.whole
        # Symmetries that were discovered bring the functions of their maps along.
        self.maps: dict[Any, Any] = {}
        for law in self.laws:
            self.maps |= getattr(law.symmetry, "maps", {})
        #: Those that the caller gave.
        self.given = dict(maps or {})
        self.maps |= self.given
        self.blocks = list(
            dict.fromkeys(w for law in laws for w in law.lagrangian.coordinates)
        )
        #: Of laws of several rules; a text says why there is no continuous one.
        self.across: dict[Law, Across | str] = {}
        #: The symbols of carried products after the step, by the product before it.
        self._after: dict[Any, sp.Symbol] = {}
        self.terms = {law: self._terms_of(law) for law in self.laws}
        found = [
            node
            for terms in self.terms.values()
            for expression in terms.values()
            for node in sorted(expression.atoms(Inner), key=_sort_key)
            if node != _ENTRIES
        ]
        self.carried = list(self._after)
        self.others = [n for n in dict.fromkeys(found) if n not in self.carried]

    def _terms_of(self, law: Law) -> dict[str, Any]:
        rules = {w: self.rules.of(w) for w in law.lagrangian.coordinates}
        # A law of one rule has its rate in its time, one of several in its terms.
        alone = self._alone(law)
        rates = {w: step_rate if alone else self._rate_of(r) for w, r in rules.items()}
        terms = continuous_terms(law, alone or self.rule)
        if alone is None:
            self.across[law] = together = across(law, self.rules)
            if isinstance(together, Across):
                terms = together.terms()
        terms |= discrete_terms(law, rules, rates)
        roles = [role(w, name) for w in self.blocks for name in ROLES]
        metrics = [metric_block(w) for w in self.blocks]
        check_lowerable(
            {f"observed {name}": e for name, e in terms.items()},
            [*self.blocks, *roles, *metrics, time, learning_rate, step_rate]
            + [*self._parameters(1.0), *self.maps, *rates.values()],
        )
        forward = self._forward()
        return {name: self._rolled(e, forward) for name, e in terms.items()}

    def _alone(self, law: Law) -> Rule | None:
        """The one rule of a law's blocks, if the law is one of its Lagrangian."""
        rule = self.rules.alone(law.lagrangian.coordinates)
        if rule is None or rule is self.rule:
            return rule
        return rule if law.lagrangian == rule.lagrangian(law.symmetry.loss) else None

    def _parameters(self, rate: Any) -> dict[Any, Any]:
        """Values for the symbols of all rules; those of the whole come first."""
        values: dict[Any, Any] = {}
        for rule in reversed(self.rules.all):
            values |= rule.parameters(rate)
        return values

    def _rate_of(self, rule: Rule) -> EngineSymbol:
        """The learning rate of a step, where the blocks of a law have several."""
        number = [id(r) for r in self.rules.all].index(id(rule))
        return EngineSymbol(f"eta of rule {number}", nonnegative=True)

    def _forward(self) -> dict[Any, Any]:
        """What the blocks after a step are called before the next one.

        A rule without a memory may call anything its trace before a step.
        """
        names = {role(w, "next"): w for w in self.blocks}
        for w in self.blocks:
            if self.rules.of(w).memory:
                names[role(w, "next trace")] = role(w, "trace")
        return names

    def _rolled(self, expression: Any, forward: dict[Any, Any]) -> Any:
        """`expression` with one symbol for each inner product of the next state."""
        replaced = {}
        for node in sorted(sp.sympify(expression).atoms(Inner), key=_sort_key):
            if (inside := node.atoms(Block)) and inside <= set(forward):
                # The one form of it may be minus a product.
                sign, before = node.xreplace(forward).as_coeff_Mul()
                if before not in self._after:
                    # The same names may be other blocks in another law.
                    text = f"{before} after, product {len(self._after)}"
                    self._after[before] = EngineSymbol(text, real=True)
                replaced[node] = sign * self._after[before]
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
        return self._values(self.products, q, states, rate)

    def closing(self, q: Mapping[str, Any], states: States) -> Any:
        """The carried products of a state, as a vector; `states` has its "trace"."""
        return self._values(self.carried, q, states, jnp.ones(()))

    def shapes(self, q: Mapping[str, Any]) -> list[tuple[int, ...]]:
        """The shape of each of the products, for such arrays."""
        arrays = {w: q[w.name].shape for w in self.blocks}
        arrays |= {role(w, name): arrays[w] for w in self.blocks for name in ROLES}
        arrays |= {metric_block(w): arrays[w] for w in self.blocks}
        return product_shapes(self.products, arrays, self.maps)

    def _values(
        self, products: Sequence[Any], q: Mapping[str, Any], states: States, rate: Any
    ) -> Any:
        values: dict[Any, Any] = dict(self.maps)
        dtypes = [q[w.name].dtype for w in self.blocks]
        if dtypes:  # maps take an array
            values[ones] = jnp.ones((), jnp.result_type(*dtypes))
        for w in self.blocks:
            values[w] = q[w.name]
            for name, arrays in states.items():
                symbol = metric_block(w) if name == "metric" else role(w, name)
                if w.name in arrays:  # not every block has a memory, or a metric
                    values[symbol] = arrays[w.name]
        # Where the rate is zero nothing moves, and any rate gives the velocity zero.
        shown = jnp.where(rate > 0, rate, 1.0)
        values |= {learning_rate: shown, **self._parameters(shown)}
        return inner_products(products, values)

    def record(
        self,
        law: Law,
        column: Callable[[Any], np.ndarray],
        rates: np.ndarray,
        sizes: Mapping[str, int],
        start: int = 0,
    ) -> Record:
        """What the recorded products say of one law.

        Args:
            law: one of `laws`.
            column: the recorded values of a product, a row a step; one row more for a
                carried one.
            rates: the learning rates, shape (steps,).
            sizes: how many entries each block has.
            start: the number of the first step.
        """
        terms, steps, alone = self.terms[law], len(rates), self._alone(law)
        together = self.across.get(law, "")
        own = together.rule if isinstance(together, Across) else alone or self.rule
        if own is not self.rule:
            rates = _rates(own, start, steps)
        mixed = {}
        for rule in map(self.rules.of, () if alone else law.lagrangian.coordinates):
            made = rates if rule is own else _rates(rule, start, steps)
            mixed[self._rate_of(rule)] = made
        arrays: dict[Any, np.ndarray] = {}
        before = {symbol: product for product, symbol in self._after.items()}
        for node in {n for e in terms.values() for n in e.atoms(Inner, sp.Symbol)}:
            if node in before:
                arrays[node] = column(before[node])[1 : steps + 1]
            elif isinstance(node, Inner) and node != _ENTRIES:
                arrays[node] = column(node)[:steps]
        shape = max((a.shape[1:] for a in arrays.values()), key=len, default=())
        blocks = law.lagrangian.coordinates
        whole = sum(sizes[w.name] for w in blocks)
        entries = whole / len(blocks) / int(np.prod(shape))
        units = [1] * len(shape)
        mixed = {s: a.reshape(steps, *units) for s, a in mixed.items()}
        rates = rates.reshape(steps, *units)
        shown = np.where(rates > 0, rates, 1.0)
        return Record(
            terms,
            {
                n: a.reshape(steps, *(a.shape[1:] or (1,) * len(shape)))
                for n, a in arrays.items()
            },
            {step_rate: rates, learning_rate: shown, _ENTRIES: entries}
            | mixed
            | own.parameters(shown),
            (steps, *shape),
            None if own is self.rule else own,
            alone is None,
            together.law if isinstance(together, Across) else None,
            str(together),
        )


def _rates(rule: Rule, start: int, steps: int) -> np.ndarray:
    """The learning rates of some steps, in float64."""
    if not callable(rule.learning_rate):
        return np.full(steps, float(rule.learning_rate))
    with float64():
        found = jax.vmap(rule.rate)(jnp.arange(start, start + steps))
        return np.asarray(found, np.float64)


#: <1, 1>, the one product that is not recorded: it counts the entries of a block.
_ENTRIES = Inner(ones, ones)


def _sort_key(product: Any) -> Any:
    return sp.default_sort_key(product), str(unit_axis(product))
