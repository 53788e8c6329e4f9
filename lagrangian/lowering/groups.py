"""Taylor coefficients of many nodes of one level and kind at once, order by order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.functions import FUNCTIONS
from lagrangian.lowering.kernels.fused import smallest
from lagrangian.lowering.recurrences import (
    Form,
    Integral,
    LaggedProduct,
    Node,
    Power,
    Product,
    Quotient,
)

#: Terms of a convolution that are added at a time.
_BLOCK = 4

#: Functions that are constant far out: how much their argument may change within a
#: step, and from where on they are constant to rounding.
SATURATING: dict[Any, tuple[float, float]] = {
    **{sp.exp: (3.0, 745.0), sp.sech: (1.0, 745.0), sp.csch: (1.0, 745.0)},
    **{sp.tanh: (1.0, 20.0), sp.coth: (1.0, 20.0)},
    **{sp.erf: (1.0, 27.0), sp.erfc: (1.0, 27.0)},
}

#: What makes functions of a state out of linear forms.
Linear = Callable[[Sequence[Form]], Any]


class Group:
    """Nodes of one level and kind; those of this class are lagged products.

    Its history is two arrays of shape (rows, nodes, lanes): the coefficients of the
    left factors from the first, and of the right ones in reverse, so that the
    convolution of order k is a product of the one with a slice of the other.

    A kind of its own says what its coefficients are, of order 0 (`_value`) and of order
    k, made from the convolution (`_coefficient`); and which of its nodes are `watched`.
    """

    def __init__(self, nodes: Sequence[Any]):
        self.nodes, self.late = list(nodes), nodes[0].late
        #: The places of nodes that can hide a feature: see `reach`.
        self.watched = np.array([], int)

    def lower(self, linear: Linear, values: Mapping[Any, Any]) -> None:
        self.left = linear([node.left for node in self.nodes])
        self.right = linear([node.right for node in self.nodes])

    def start(self, z: Any) -> tuple[Any, Any]:
        """The coefficients of order 0, and what later orders need of them."""
        left = self.left(z)
        return self._value(z, left), left

    def first(self, z: Any, left: Any, order: int) -> Any:
        """The history with the coefficients of order 0 in it."""
        rows = order + 1
        # Behind the last row are zeros for what is left of a block.
        lefts = self._first_lefts(jnp.zeros((rows + _BLOCK, *left.shape)), left)
        rights = jnp.zeros((2 * rows + _BLOCK, *left.shape))
        rights = rights.at[rows].set(self.right(z))
        return lefts, rights, self._divisor(left)

    def next(self, z: Any, history: Any, k: Any, order: int) -> tuple[Any, Any]:
        """The coefficients of order k >= 1."""
        lefts, rights, divisor = history
        left = self._slope(self.left(z), k)
        lefts = jax.lax.dynamic_update_index_in_dim(lefts, left, k, 0)
        rights = self._early(z, rights, k, order)
        value = self._convolved(lefts, rights, k, order)
        return self._coefficient(z, value, divisor, k), (lefts, rights, divisor)

    def finish(self, z: Any, history: Any, k: Any, order: int) -> Any:
        """The history with the right factors of order k, once all are known."""
        lefts, rights, divisor = history
        return lefts, self._with_right(z, rights, k, order), divisor

    def reach(self, left: Any, history: Any, order: int) -> Any:
        """How far the functions that can hide a feature stay resolved, in units.

        A pulse exp(-x^2) far from its centre, or 1/(1 + x^2), is too small for the
        series of the motion to show it, which would step over it. What it is a function
        of does show: see `_room`. Its terms of order 1 and 2 may fill that room.
        """
        lefts, _, _ = history
        first, second = (
            jnp.abs(self._slope_undone(lefts[k, self.watched], k)) for k in (1, 2)
        )
        return resolved(self._room(jnp.abs(left[self.watched])), first, second)

    def _with_right(self, z: Any, rights: Any, k: Any, order: int) -> Any:
        place = order + 1 - k
        return jax.lax.dynamic_update_index_in_dim(rights, self.right(z), place, 0)

    def _convolved(self, lefts: Any, rights: Any, k: Any, order: int) -> Any:
        """The sum over j <= k of left_j right_{k-j}, a few terms at a time.

        One term at a time would be a chain of additions, and all of them at once mostly
        zeros: this is a third faster than either.
        """

        def block(i: Any, total: Any) -> Any:
            first = i * _BLOCK
            left = jax.lax.dynamic_slice_in_dim(lefts, first, _BLOCK, 0)
            right = jax.lax.dynamic_slice_in_dim(
                rights, order + 1 - k + first, _BLOCK, 0
            )
            terms = left * self._weighed(right, first, k)
            return total + sum(terms[j] for j in range(_BLOCK))

        zero = jnp.zeros(lefts.shape[1:])
        return jax.lax.fori_loop(0, k // _BLOCK + 1, block, zero)

    # -------------------------------------------------------------- of each kind

    def _value(self, z: Any, left: Any) -> Any:
        """The coefficient of order 0."""
        return jnp.zeros_like(left)

    def _coefficient(self, z: Any, value: Any, divisor: Any, k: Any) -> Any:
        """That of order k, from the convolution."""
        return value

    def _divisor(self, left: Any) -> Any:
        """What the coefficients are divided by, as a factor."""
        return left

    def _first_lefts(self, lefts: Any, left: Any) -> Any:
        """Those before order 1: none, as most convolutions leave out j = 0."""
        return lefts

    def _slope(self, left: Any, k: Any) -> Any:
        """What stands for the left factor of order k."""
        return left

    def _slope_undone(self, slope: Any, k: int) -> Any:
        return slope

    def _weighed(self, right: Any, first: Any, k: Any) -> Any:
        """The right factors of a block that starts at j = `first`."""
        return right

    def _early(self, z: Any, rights: Any, k: Any, order: int) -> Any:
        """The right factors with what the convolution of the same order needs."""
        return rights

    def _room(self, size: Any) -> Any:
        """How much the left factors, of these sizes, may change within a step."""
        raise NotImplementedError


class Products(Group):
    """W_k = sum_j A_j B_{k-j}."""

    def _value(self, z: Any, left: Any) -> Any:
        return left * self.right(z)

    def _first_lefts(self, lefts: Any, left: Any) -> Any:
        return lefts.at[0].set(left)

    def _early(self, z: Any, rights: Any, k: Any, order: int) -> Any:
        return self._with_right(z, rights, k, order)

    def finish(self, z: Any, history: Any, k: Any, order: int) -> Any:
        return history


class Divided(Group):
    """What divides by its left factor, which may change by its own size."""

    def __init__(self, nodes: Sequence[Any]):
        super().__init__(nodes)
        self.watched = np.arange(len(nodes))

    def _divisor(self, left: Any) -> Any:
        return 1 / left

    def _room(self, size: Any) -> Any:
        return size


class Quotients(Divided):
    """W_k = (A_k - sum_{j>0} B_j W_{k-j}) / B_0."""

    def lower(self, linear: Linear, values: Mapping[Any, Any]) -> None:
        super().lower(linear, values)
        self.numerator = linear([node.numerator for node in self.nodes])

    def _value(self, z: Any, left: Any) -> Any:
        return self.numerator(z) / left

    def _coefficient(self, z: Any, value: Any, divisor: Any, k: Any) -> Any:
        return (self.numerator(z) - value) * divisor


class Powers(Divided):
    """W_k = sum_{j>0} ((a + 1) j - k) B_j W_{k-j} / (k B_0)."""

    def lower(self, linear: Linear, values: Mapping[Any, Any]) -> None:
        super().lower(linear, values)
        exponents = evaluate([node.exponent for node in self.nodes], values)
        self.exponents = jnp.asarray(exponents, jnp.float64)[:, None]

    def _value(self, z: Any, left: Any) -> Any:
        return left**self.exponents

    def _weighed(self, right: Any, first: Any, k: Any) -> Any:
        j = first + jnp.arange(float(_BLOCK))[:, None, None]
        return right * ((self.exponents + 1) * j - k)

    def _coefficient(self, z: Any, value: Any, divisor: Any, k: Any) -> Any:
        return value * divisor / k


class Integrals(Group):
    """W_k = sum_j j B_j G_{k-j} / k; nodes of the same `run` come side by side.

    Of functions that are constant far out, the argument may change by the first number
    of `SATURATING`; or, where |B| exceeds the second by more, by half of the excess.
    """

    def __init__(self, nodes: Sequence[Any]):
        super().__init__(nodes)
        rooms = [SATURATING.get(node.function) for node in nodes]
        self.watched = np.array([i for i, room in enumerate(rooms) if room], int)
        self.rooms = np.array([room for room in rooms if room]).reshape(-1, 2, 1)

    def lower(self, linear: Linear, values: Mapping[Any, Any]) -> None:
        super().lower(linear, values)
        self.functions = []
        for (_, arity), members in groupby(self.nodes, lambda node: node.run):
            run = list(members)
            arguments = [linear([n.arguments[i] for n in run]) for i in range(arity)]
            self.functions.append((run[0].function, arguments))

    def _value(self, z: Any, left: Any) -> Any:
        return jnp.concatenate(
            [
                jnp.zeros_like(left[: len(arguments[0].rows)])
                if function is None
                else FUNCTIONS[function](*(a(z) for a in arguments))
                for function, arguments in self.functions
            ]
        )

    def _slope(self, left: Any, k: Any) -> Any:
        return k * left

    def _slope_undone(self, slope: Any, k: int) -> Any:
        return slope / k

    def _coefficient(self, z: Any, value: Any, divisor: Any, k: Any) -> Any:
        return value / k

    def _room(self, size: Any) -> Any:
        return saturating_room(size, self.rooms)


def saturating_room(size: Any, rooms: Any) -> Any:
    """How much arguments of these sizes may change; `rooms` are of `SATURATING`.

    Shapes (functions, lanes) and (functions, 2, 1).
    """
    return jnp.maximum(rooms[:, 0], (size - rooms[:, 1]) / 2)


def resolved(room: Any, first: Any, second: Any) -> Any:
    """How far the terms of order 1 and 2 of all arguments fill their room."""
    return jnp.minimum(smallest(room / first), jnp.sqrt(smallest(room / second)))


_KINDS: dict[type[Node], type[Group]] = {
    LaggedProduct: Group,
    Product: Products,
    Quotient: Quotients,
    Power: Powers,
    Integral: Integrals,
}


def group_of(nodes: Sequence[Node]) -> Group:
    """The group of nodes of one level and kind."""
    return _KINDS[type(nodes[0])](nodes)
