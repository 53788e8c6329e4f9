"""A training run that was observed: its losses and the record of every law."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.errors import CannotSave, LagrangianError
from lagrangian.files import write_atomically
from lagrangian.learning import pickled  # noqa: F401 - its models have such functions
from lagrangian.learning.rules.rule import Rule
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.laws.noether import Law

#: The learning rate of a step, which may be zero, where nothing divides by it.
step_rate = EngineSymbol("eta of the step", nonnegative=True)
#: Of an array in a part of a record.
_ENTRIES = 2**19


def _recorded(name: str) -> cached_property[np.ndarray]:
    return cached_property(lambda record: record._evaluate(record._terms[name]))


class Record(AtPrompt):
    """What was recorded of one law: float64 arrays of shape (steps,) or (steps, units).

    Those of a group of matrices have the shape (steps, k, k), or (steps, heads, k, k).
    They are in `lg.Run`, as `run[law]`, and computed from the recorded inner products
    when an attribute is first read.

    Args:
        terms: the attributes below as expressions in inner products, by name.
        products: the inner products, arrays of shape (steps, ...).
        parameters: numbers, or arrays of shape (steps,), by symbol.
        shape: of the arrays.
        rule: with the decay of this law's blocks, where that is their own.
        mixed: whether these have several decays or learning rates.
        weighted: the law with a mass for each block, where several rules have one.
        note: what is to be said of it, or why there is none.

    Attributes:
        quantity: x of the law's oscillator (its charge where it is none), before the
            step.
        source: what drives it, at the measured velocity.
        raw_source: the same at the velocity that this step's gradient alone would keep
            up, as closed forms in the gradient take it.
        start: the quantity's time derivative in a run that begins here from rest.
        discrete, scale: the residual of the exact discrete law, and its bound.
        defect, defect_scale: <grad f, xi(q)>, and its bound.
        balance: the residual with the measured defect taken into account.
        kinetic, decay: what the update and the weight decay add to the charge.
        metric, metric_scale: what the part of the update that is not along the covector
            p' adds to <update, xi>, times |p'|^2; and its bound.
        reach: how far a relative change of every parameter moves the quantity, per unit
            of that change, at most: |q| |dx/dq|; 0 where the quantity contains
            velocities.
        stated_source: `source` with the kinetic energy m/2 |qdot|^2 of the law.

    `source` and the like follow the continuous law, which a rule that is not Euclidean
    has only for a metric at rest: there `source` is the law's rate.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> rule = lg.HeavyBall(0.01, momentum=0.9)
    >>> run = lg.train(model, loss, data, rule, steps=50, observe=[scale])
    >>> record = run[scale]
    >>> record.units, record.quantity.shape, bool(abs(record.discrete).max() < 1e-12)
    (1, (50,), True)
    """

    _next = "`.quantity`, `.discrete`, `.source`, of shape (steps,) or (steps, units)"

    quantity = _recorded("quantity")
    source = _recorded("source")
    raw_source = _recorded("raw_source")
    start = _recorded("start")
    discrete = _recorded("discrete")
    scale = _recorded("scale")
    defect = _recorded("defect")
    defect_scale = _recorded("defect_scale")
    balance = _recorded("balance")
    kinetic = _recorded("kinetic")
    decay = _recorded("decay")
    metric = _recorded("metric")
    metric_scale = _recorded("metric_scale")
    reach = _recorded("reach")
    stated_source = _recorded("stated_source")

    def __init__(
        self,
        terms: Mapping[str, Any],
        products: Mapping[Any, np.ndarray],
        parameters: Mapping[Any, Any],
        shape: tuple[int, ...],
        rule: Rule | None = None,
        mixed: bool = False,
        weighted: Law | None = None,
        note: str = "",
    ):
        #: The rule with the decay of this law's blocks, where that is their own; and
        #: whether they have several rules: then it is the one of `weighted`.
        self.rule, self.mixed = rule, mixed
        #: The law with a mass for each block that several rules have in common, and
        #: what is to be said of it, or why there is none.
        self.weighted, self.note = weighted, note
        self._terms, self._products = terms, products
        self._parameters, self._shape = parameters, shape

    def __str__(self) -> str:
        return f"Record({self._shape[0]} steps, {self.units} units)"

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes listed above."""
        return tuple(self._terms)

    @property
    def units(self) -> int:
        """How many charges there are side by side."""
        return int(np.prod(self._shape[1:]))

    @property
    def rates(self) -> np.ndarray:
        """The learning rates, of a shape that multiplies the arrays."""
        return self._parameters[step_rate]

    def rows(self, start: int, stop: int) -> Record:
        """The record of some of the steps.

        Args:
            start, stop: the first step, and the one behind the last, as of a slice.

        Returns:
            A `Record`.
        """
        steps, rows = self._shape[0], slice(start, stop)

        def some(value: Any) -> Any:
            return value[rows] if np.ndim(value) and len(value) == steps else value

        return Record(
            self._terms,
            {node: array[rows] for node, array in self._products.items()},
            {symbol: some(value) for symbol, value in self._parameters.items()},
            (len(range(steps)[rows]), *self._shape[1:]),
            self.rule,
            self.mixed,
            self.weighted,
            self.note,
        )

    def parts(self) -> Iterator[Record]:
        """Records of a few steps after the other, whose arrays need little memory."""
        steps = self._shape[0]
        length = max(1, _ENTRIES // self.units)
        for start in range(0, steps, length):
            yield self.rows(start, start + length)

    def _evaluate(self, expression: Any) -> np.ndarray:
        values = {**self._products, **self._parameters}
        # In an order of their own, so that sums add up alike in every run.
        ordered = sorted(values, key=sp.default_sort_key)
        symbols = {node: sp.Symbol(f"x{i}") for i, node in enumerate(ordered)}
        expression = expression.xreplace(symbols)
        used = [n for n in ordered if symbols[n] in expression.free_symbols]
        function = sp.lambdify([symbols[n] for n in used], expression, "numpy")
        arguments = [np.asarray(values[n], np.float64) for n in used]
        return np.array(np.broadcast_to(function(*arguments), self._shape), np.float64)


@dataclass(repr=False)
class Run(AtPrompt):
    """What `train` returns: the trained model and everything recorded on the way.

    `run[law]` is the `Record` of an observed law, or of the law of a symmetry. A run
    that `lg.recorded` took from a loop of the user's own knows neither seed nor batch
    size.

    Attributes:
        model: trained, of the kind that was given; None where it is not known.
        rule: the learning rule.
        losses: of every step, on its batch, shape (steps,).
        learning_rates: of every step, shape (steps,).
        dtype: in which the laws were measured: that of the parameters.
        seed, batch_size: as `train` took them, or None.
        records: the `Record` of each law.
        start: the number of its first step.
        rows: all that it is continued from, where `lg.recorded` made it.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(32, 3))
    >>> def loss(model, batch):
    ...     w = model["w"]
    ...     return ((batch @ w) ** 2).mean() / (w**2).sum()
    >>> model = {"w": np.ones(3)}
    >>> scale = lg.Scale("w")
    >>> rule = lg.HeavyBall(0.01, momentum=0.9)
    >>> run = lg.train(model, loss, data, rule, steps=50, observe=[scale])
    >>> run.steps, run.losses.shape, run[scale].quantity.shape
    (50, (50,), (50,))
    """

    model: Any
    rule: Rule
    losses: np.ndarray
    learning_rates: np.ndarray
    dtype: np.dtype
    seed: int | None
    batch_size: int | None
    records: Mapping[Law, Record] = field(default_factory=dict)
    start: int = 0
    rows: Any = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return len(self.losses)

    @property
    def time(self) -> np.ndarray:
        """Continuous time t = sum of the learning rates, shape (steps + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.learning_rates)])

    _next = (
        "`lg.check(run)`, `run[law].quantity`, `.losses`, `.model`, `.plot()`, "
        "`.save(file)`"
    )

    def __str__(self) -> str:
        last = f"{self.losses[-1]:.4g}" if self.steps else "none"
        since = f" from step {self.start} on" if self.start else ""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return (
            f"Run({self.rule}; {self.steps} steps{since}, last loss {last}; "
            f"{len(self.records)} laws; {self.dtype}{seed})"
        )

    def __getitem__(self, law: Law | Symmetry) -> Record:
        """What was recorded of a law.

        Args:
            law: one that was observed, or its symmetry.

        Returns:
            A `Record`.

        Raises:
            LagrangianError: it was not observed.
        """
        return self.records[self.law(law)]

    def plot(self) -> Any:
        """A Matplotlib figure of the losses, and of the charges of the laws by step.

        Of each law the four units whose charges are largest at the start.
        """
        from lagrangian.plots import plot_run

        steps = self.start + np.arange(self.steps)
        charges = {repr(x.symmetry): r.quantity for x, r in self.records.items()}
        return plot_run(steps, np.asarray(self.losses), charges)

    def continuous(self, law: Law) -> Law | None:
        """The law whose continuous equation an observed one has.

        Args:
            law: one that was observed.

        Returns:
            The law itself; one that weighs the blocks, where several rules move them;
            None if no equation is known.
        """
        record = self.records[law]
        rule = record.rule or self.rule
        own = law if rule.is_euclidean and not record.mixed else None
        return record.weighted or own

    def law(self, law: Law | Symmetry) -> Law:
        """The observed law that this is, or that is of this symmetry.

        Args:
            law: a law, or a symmetry.

        Returns:
            A `Law`.

        Raises:
            LagrangianError: there is none.
        """
        symmetry = law if isinstance(law, Symmetry) else law.symmetry
        for known in self.records:
            if known == law or (law is symmetry and known.symmetry == law):
                return known
        observed = ", ".join(repr(known.symmetry) for known in self.records)
        raise LagrangianError(
            f"this run did not observe the law of {symmetry!r}. Pass it to "
            f"`train(..., observe=[...])`. Observed: {observed or 'none'}."
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write losses and records to a `.npz` file, whole or not at all.

        Args:
            path: of the file. It has `losses`, `learning_rates`, and each attribute of
                each `Record`, as "SYMMETRY/ATTRIBUTE".

        Raises:
            CannotSave: the operating system refuses; carries this run.
        """
        arrays: dict[str, Any] = {
            "losses": self.losses,
            "learning_rates": self.learning_rates,
            "about": np.asarray(
                json.dumps({"rule": str(self.rule), "seed": self.seed})
            ),
        }
        for law, record in self.records.items():
            for name in record.names:
                arrays[f"{law.symmetry!r}/{name}"] = getattr(record, name)
        try:
            write_atomically(path, lambda file: np.savez_compressed(file, **arrays))
        except CannotSave as error:
            raise CannotSave(
                f"{error} The run of {self.steps} steps is in this error's `run`: "
                "write it elsewhere by `error.run.save(...)`.",
                error.errno,
                self,
            ) from error
