"""What every computed path answers, and what some of them cannot."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from lagrangian.errors import LagrangianError
from lagrangian.flows.to_xarray import Labelled, saver, to_xarray
from lagrangian.prompt import AtPrompt


class Path(AtPrompt, ABC):
    """States at the output times `t`, in float64, and any quantity along them.

    `path[symbol]` is one coordinate, block or field; `evaluate` takes any expression,
    and `charge` a law.

    Attributes:
        flow: whose path it is.
        t: times, shape (times,).
        steps: how many steps the solver took.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> path = flow.integrate([1.0], [0.0], (0, 1), points=3)
    >>> law = lg.noether(spring, lg.TimeTranslation())
    >>> isinstance(path, lg.Path), path.charge(law).round(12)
    (True, array([0.5, 0.5, 0.5]))
    """

    flow: Any
    t: Any
    steps: Any

    _engine = frozenset(
        "described grid labelled tree_flatten tree_unflatten until".split()
    )

    @abstractmethod
    def __getitem__(self, symbol: Any) -> Any:
        """One quantity along the path.

        Args:
            symbol: a coordinate, block or field of its system, or a derivative of it.

        Returns:
            float64 (complex128 for a complex field) of shape (times, ...).
        """
        ...

    @abstractmethod
    def until(self, index: int) -> Path:
        """The path before one of its output times."""

    @abstractmethod
    def labelled(self) -> dict[str, Labelled]:
        """Every quantity that a file should hold, by its name."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a file must say to be read without its program: text and numbers."""

    def grid(self) -> dict[str, np.ndarray]:
        """The values along the dimensions of `labelled` that have some."""
        return {}

    def at(self, t: ArrayLike) -> Path:
        """The path at other times, where its motion can be followed to them.

        Args:
            t: a number, or numbers of shape (times,), increasing.

        Returns:
            A path of these times.

        Raises:
            LagrangianError: it cannot.
        """
        raise LagrangianError(
            f"`at` follows Taylor series, which a {type(self).__name__} has not. Pass "
            "the times to `integrate`, as `t`."
        )

    def to_xarray(self) -> Any:
        """The path as an `xarray.Dataset`.

        Raises:
            LagrangianError: xarray is not installed.
        """
        return to_xarray(self)

    def save(self, file: str | os.PathLike[str]) -> File:
        """Write the path to a file: `.npz`, or `.nc` for netCDF.

        Args:
            file: its name, whose extension says the format.

        Returns:
            the file's path.

        Raises:
            LagrangianError: another extension, or `.nc` without xarray installed.
            CannotSave: the operating system refuses.
        """
        return saver(file)(self)

    @abstractmethod
    def plot(self) -> Any:
        """A Matplotlib figure of the path."""


def numbers(parameters: Mapping[Any, Any]) -> str:
    """The parameters that are single numbers as JSON: netCDF has no nested ones."""
    return json.dumps(
        {
            str(symbol): float(value)
            for symbol, value in parameters.items()
            if not callable(value) and np.ndim(value) == 0
        }
    )
