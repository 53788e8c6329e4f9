"""`lower`: from a derivation to functions that JAX can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from lagrangian.errors import CannotLower
from lagrangian.flows.arguments import check_parameters
from lagrangian.flows.block_flow import BlockFlow
from lagrangian.flows.fields.field_flow import FieldFlow
from lagrangian.flows.scalar_flow import ScalarFlow
from lagrangian.lowering.laws import LoweredLaw
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.field_theory import FieldTheory
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: A value for each symbol, a function for each linear map.
Parameters: TypeAlias = Mapping[Any, Any]
#: The start and end of a domain, or one such pair for each of its dimensions.
Interval: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | np.ndarray
#: A JAX function for each opaque loss, by its name.
Losses: TypeAlias = Mapping[str, Callable[..., Any]]


@overload
def lower(
    source: Lagrangian,
    parameters: Parameters | None = None,
    *,
    losses: Losses | None = None,
) -> ScalarFlow: ...


@overload
def lower(
    source: Law, parameters: Parameters | None = None, *, losses: Losses | None = None
) -> LoweredLaw: ...


@overload
def lower(
    source: FieldTheory,
    parameters: Parameters | None = None,
    *,
    losses: Losses | None = None,
    interval: Interval,
    points: int | Sequence[int],
) -> FieldFlow: ...


def lower(
    source: Lagrangian | Law | FieldTheory,
    parameters: Parameters | None = None,
    *,
    losses: Losses | None = None,
    interval: Interval | None = None,
    points: int | Sequence[int] | None = None,
) -> ScalarFlow | BlockFlow | LoweredLaw | FieldFlow:
    """Lower a `Lagrangian` to a `Flow`, or a `Law` to a `LoweredLaw`.

    A `FieldTheory` becomes a `FieldFlow` on a periodic domain.

    Args:
        source: what to lower.
        parameters: a value for every symbol that is neither a coordinate nor time,
            and a function for every linear map. None is ever defaulted. Those of
            exponents get exact numbers: x**n with {n: 4.0} is x*x*x*x.
        losses: a JAX function for every opaque loss, by its name; it is called with
            the arrays of its blocks, in their order.
        interval: of a field theory, the start and end (a, b) of its periodic domain;
            in more space dimensions one pair for each.
        points: how many points its grid has; in more space dimensions one number for
            each.

    Returns:
        A flow of scalar coordinates or of blocks, a `LoweredLaw`, or a `FieldFlow`.

    Raises:
        CannotLower: a symbol without a finite real value, a function without a JAX
            counterpart, a field theory without a domain or a domain without one, or a
            `source` of another type.
        InvalidLagrangian: a density, or a mass matrix, from which no accelerations
            follow.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> flow = lg.lower(lg.Lagrangian(x.dot**2/2, x**2/2))
    >>> path = flow.integrate({x: 1.0}, {x: 0.0}, t=(0, 6.283185307179586))
    >>> print(round(path[x][-1], 6))
    1.0
    """
    # In a flow of scalars an array would be taken for members of an ensemble.
    arrays = not isinstance(source, Lagrangian) or source.has_blocks
    parameters, losses = check_parameters(parameters, arrays=arrays), dict(losses or {})
    if isinstance(source, FieldTheory):
        return FieldFlow(source, parameters, interval, points)
    if interval is not None or points is not None:
        raise CannotLower(
            "`interval` and `points` are the domain of a `FieldTheory`, and `lower` "
            f"got {type(source).__name__}. Leave them out."
        )
    if isinstance(source, Law):
        return LoweredLaw(source, parameters, losses)
    if isinstance(source, Lagrangian):
        kind = BlockFlow if source.has_blocks else ScalarFlow
        return kind(source, parameters, losses)
    raise CannotLower(
        "`lower` takes a `Lagrangian`, a `Law` or a `FieldTheory`, and got "
        f"{type(source).__name__}. Write `lg.lower(lg.Lagrangian(T, V), {{g: 9.81}})`."
    )
