"""A periodic domain with a uniform grid: differentiation and integration on it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lagrangian.errors import CannotLower
from lagrangian.symbolic.algebra.content import ByContent


class PeriodicDomain(ByContent):
    """An interval that is closed to a circle, or a product of such intervals.

    Args:
        space: the space variables.
        interval: its start and end, or one such pair for each space variable.
        points: how many points the grid has, one number for each space variable.

    Attributes:
        shape: of an array over the grid.
        grid: the coordinate of every point by space variable, arrays of that shape. The
            end of an interval is its start again, and is left out.

    Raises:
        CannotLower: pairs or numbers that do not fit the space variables.
    """

    def __init__(self, space: tuple[Any, ...], interval: Any, points: Any):
        intervals = np.asarray(interval, np.float64).reshape(-1, 2)
        self.shape = tuple(int(n) for n in np.atleast_1d(points))
        if len(intervals) != len(space) or len(self.shape) != len(space):
            names = ", ".join(f"`{x}`" for x in space)
            raise CannotLower(
                f"`interval` has {len(intervals)} pairs and `points` {len(self.shape)} "
                f"numbers; expected one for each of {names}."
            )
        if not np.all(intervals[:, 0] < intervals[:, 1]) or min(self.shape) < 3:
            raise CannotLower(
                f"`interval` is {interval} and `points` is {points}. Pass a start "
                "below the end, and three points or more."
            )
        self.space, self.intervals = space, intervals
        self.lengths = intervals[:, 1] - intervals[:, 0]
        axes = [
            start + length * np.arange(n) / n
            for start, length, n in zip(
                intervals[:, 0], self.lengths, self.shape, strict=True
            )
        ]
        self.grid: dict[Any, np.ndarray] = dict(
            zip(space, np.meshgrid(*axes, indexing="ij"), strict=True)
        )

    def _content(self) -> tuple[Any, ...]:
        return PeriodicDomain, self.space, self.shape, tuple(self.intervals.ravel())

    def __str__(self) -> str:
        return " x ".join(
            f"{n} points on [{start:g}, {end:g})"
            for (start, end), n in zip(self.intervals, self.shape, strict=True)
        )

    def derivative(self, array: Any, variable: Any) -> Any:
        """The derivative of the trigonometric interpolant; a JAX function.

        An antisymmetric matrix along one axis, applied by the fast Fourier transform.
        An even number of points has one mode, +1 and -1 in turn, that it sends to zero
        (Trefethen, "Spectral Methods in MATLAB", chapter 3).

        Args:
            array: of shape (..., *shape).
            variable: the space variable.
        """
        axis = self.space.index(variable)
        n = self.shape[axis]
        wave_numbers = 2 * np.pi / self.lengths[axis] * np.arange(n // 2 + 1)
        if n % 2 == 0:
            wave_numbers[-1] = 0.0
        axis -= len(self.shape)
        along = [1] * len(self.shape)
        along[axis] = -1
        modes = jnp.fft.rfft(array, axis=axis) * (1j * wave_numbers).reshape(along)
        return jnp.fft.irfft(modes, n, axis=axis)

    def integral(self, array: Any) -> Any:
        """The integral over the domain of an array of shape `shape`; a JAX function.

        By the trapezoidal rule, which is spectrally accurate for periodic functions.
        """
        return array.sum() * float(np.prod(self.lengths) / np.prod(self.shape))
