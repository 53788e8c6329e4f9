"""The errors that users meet: each says what was wrong, where, and what to write.

>>> import lagrangian as lg
>>> try:
...     lg.Lagrangian(0)
... except lg.errors.LagrangianError as error:
...     kind = type(error)
>>> kind is lg.errors.InvalidLagrangian
True
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LagrangianError(Exception):
    """Base of every error that this library raises on purpose.

    >>> import lagrangian as lg
    >>> issubclass(lg.CannotLower, lg.LagrangianError)
    True
    """


class InvalidLagrangian(LagrangianError, ValueError):
    """A kinetic energy, potential or damping from which no dynamics follows.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> lg.Lagrangian(0, x**2)
    Traceback (most recent call last):
        ...
    lagrangian.errors.InvalidLagrangian: no inertia in `x`: `T` does not contain ...
    """


class InvalidSymmetry(LagrangianError, ValueError):
    """A generator that does not fit the Lagrangian that it is applied to.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> lg.noether(spring, lg.Translation(lg.coordinates("z")))
    Traceback (most recent call last):
        ...
    lagrangian.errors.InvalidSymmetry: translation(z) moves `z`, which this ...
    """


class CannotLower(LagrangianError, ValueError):
    """An expression without a JAX counterpart, or a symbol without a value.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> import sympy as sp
    >>> k = sp.Symbol("k")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, k * x**2 / 2)
    >>> lg.lower(spring, {})
    Traceback (most recent call last):
        ...
    lagrangian.errors.CannotLower: `lower` got no value for `k`, which the equation ...
    """


class UnknownBlock(LagrangianError, KeyError):
    """A block name that the model or pytree does not have.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> lg.Orbit(lg.Scale("wieght"), {"weight": np.ones(2)})
    Traceback (most recent call last):
        ...
    lagrangian.errors.UnknownBlock: the model has no block `wieght`. Nearest: `weight`.
    """

    def __str__(self) -> str:  # KeyError would print the repr of the sentence
        return str(self.args[0])


class CannotSave(LagrangianError, OSError):
    """A file that could not be written; the message names it, and what is kept.

    Args:
        message: what was wrong, and what to do.
        number: `errno` of the operating system, or None.
        run: what was computed and could not be written, where there is such a thing.

    >>> import lagrangian as lg
    >>> issubclass(lg.CannotSave, OSError)
    True
    """

    def __init__(self, message: str, number: int | None = None, run: object = None):
        super().__init__(message)
        self.errno = number
        self.run: Any = run

    def __str__(self) -> str:  # OSError would print the number before the sentence
        return str(self.args[0])


class IntegrationFailed(LagrangianError, RuntimeError):
    """The solver stopped before the end of the requested interval.

    `trajectory` holds what was computed until then.

    Args:
        message: what was wrong, and what to do.
        trajectory: the path until then.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> falling = lg.Lagrangian(x.dot**2 / 2, -(x**4))
    >>> try:
    ...     lg.lower(falling, {}).integrate([1.0], [1.0], (0, 10), max_steps=50)
    ... except lg.IntegrationFailed as error:
    ...     reached = error.trajectory.t
    >>> bool(0 < reached[-1] < 10)
    True
    """

    def __init__(self, message: str, trajectory: object = None):
        super().__init__(message)
        self.trajectory: Any = trajectory


class TrainingStopped(LagrangianError, RuntimeError):
    """Training met a loss that is not finite.

    `step` is the first step whose loss or gradient is not finite; `run` holds
    everything recorded before it.

    Args:
        message: what was wrong, and what to do.
        step: the first step whose loss or gradient is not finite.
        run: everything recorded before it.

    >>> import lagrangian as lg
    >>> import numpy as np
    >>> data = np.eye(4, 3)
    >>> def loss(model, batch):
    ...     return ((batch @ model["w"] - 1) ** 2).mean()
    >>> model = {"w": np.zeros(3)}
    >>> rule = lg.HeavyBall(1e30)
    >>> try:
    ...     run = lg.train(model, loss, data, rule, steps=99, batch_size=4)
    ... except lg.TrainingStopped as error:
    ...     run = error.run
    >>> run.steps < 99
    True
    """

    def __init__(self, message: str, step: int = 0, run: object = None):
        super().__init__(message)
        self.step = step
        self.run: Any = run


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A phrase that offers the known names closest to `name`."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.3)
    if close:
        return "Nearest: " + ", ".join(f"`{c}`" for c in close) + "."
    listed = ", ".join(f"`{k}`" for k in known[:12]) or "none"
    return f"Known: {listed}{', ...' if len(known) > 12 else ''}."


def check_attribute(module: str, name: str, known: Iterable[str]) -> None:
    """Raise, as Python does, unless a module has a name.

    Raises:
        AttributeError: offers the nearest.
    """
    if name not in known:
        public = (k for k in known if not k.startswith("_"))
        raise AttributeError(
            f"module `{module}` has no attribute `{name}`. {nearest(name, public)}"
        )


def __dir__() -> list[str]:
    """What completion offers: the errors."""
    errors = [LagrangianError, *LagrangianError.__subclasses__()]
    return sorted(name for name, value in globals().items() if value in errors)
