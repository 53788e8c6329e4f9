"""Finite transformations: where a generator takes arrays, and not only which way.

Scales, shifts and products with constant matrices are exponentials in closed form; so
is an activation of an array by a factor. What else is affine in the arrays is the
exponential series, in as many parts as its norm asks for. The rest is integrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import sympy as sp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import expm
from sympy.utilities.iterables import connected_components

from lagrangian.learning.activations import ACTIVATIONS
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block, EngineBlock, block_terms
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.matrices import Matmul, reduce_word

#: Arrays by block.
Arrays = Mapping[Any, Any]
#: (arrays, how far each goes, which broadcasts to it) to where they are then.
Motion = Callable[[Arrays, Arrays], dict[Any, Any]]

#: Terms of the exponential series of a generator whose norm is about one.
_SERIES = 24
#: Steps of the power method. What its norm falls short by, the series has room for.
_POWERS = 12
#: The error that a step of the adaptive solver may have, relative to each number
#: or to the largest of all.
_TOLERANCE, _FLOOR, _MOST_STEPS = 1e-13, 1e-16, 4096


def motions(xi: Arrays, values: Mapping[Any, Any]) -> list[Motion]:
    """The finite transformation of a generator, for each part that moves by itself.

    Args:
        xi: the motion of each block.
        values: of all linear maps, constant blocks and symbols in it.
    """
    moving = {q: sp.expand(d) for q, d in xi.items() if d != 0}
    pairs = [(q, p) for q, d in moving.items() for p in d.free_symbols & moving.keys()]
    return [
        _motion({q: moving[q] for q in part}, values)
        for part in connected_components((list(moving), pairs))
    ]


def _motion(moving: dict[Any, Any], values: Mapping[Any, Any]) -> Motion:
    if len(moving) == 1:
        ((block, direction),) = moving.items()
        for kind in (_Growth, _Product, _Activated):
            found = kind.of(block, direction, values)
            if found is not None:
                return found
    return (_Series if _is_affine(moving) else _Integrated)(moving, values)


def _is_affine(moving: Mapping[Any, Any]) -> bool:
    steps = {q: EngineBlock(f"_step({q.name})") for q in moving}
    slopes = [sp.expand(variation(d, steps)) for d in moving.values()]
    return not any(slope.free_symbols & moving.keys() for slope in slopes)


# ------------------------------------------------------------------ in closed form


@dataclass(frozen=True)
class _Growth:
    """q' = c q + b: e^(cs) q, and b by (e^(cs) - 1)/c."""

    block: Block
    rate: Any
    shift: Any
    values: Mapping[Any, Any]

    @classmethod
    def of(cls, block: Block, direction: Any, values: Any) -> _Growth | None:
        rate, shift = sp.S.Zero, sp.S.Zero
        for coefficient, core in block_terms(direction):
            if core == block:
                rate += coefficient
            else:
                shift += coefficient * core
        rest = rate.free_symbols | shift.free_symbols
        return None if block in rest else cls(block, rate, shift, values)

    def __call__(self, arrays: Arrays, s: Arrays) -> dict[Any, Any]:
        rate, shift = evaluate([self.rate, self.shift], {**self.values, **arrays})
        q, way = arrays[self.block], rate * s[self.block]
        share = jnp.where(way == 0, 1.0, jnp.expm1(way) / jnp.where(way == 0, 1.0, way))
        moved = jnp.exp(way) * q + share * s[self.block] * shift
        return {self.block: moved}


@dataclass(frozen=True)
class _Product:
    """q' = L q + q R: exp(sL) q exp(sR), of a block without units."""

    block: Block
    left: Any
    right: Any
    values: Mapping[Any, Any]

    @classmethod
    def of(cls, block: Block, direction: Any, values: Any) -> _Product | None:
        if block.unit_axis is not None:
            return None
        sides = [sp.S.Zero, sp.S.Zero]
        for coefficient, core in block_terms(direction):
            word: Any = core.args if isinstance(core, Matmul) else ()
            if block not in word[:1] + word[-1:] or coefficient.has(block):
                return None
            is_right = word[0] == block
            rest = word[1:] if is_right else word[:-1]
            if any(factor.has(block) for factor in rest):
                return None
            sides[is_right] += coefficient * reduce_word(list(rest))
        return cls(block, *sides, values)

    def __call__(self, arrays: Arrays, s: Arrays) -> dict[Any, Any]:
        q, way = arrays[self.block], s[self.block]
        left, right = evaluate([self.left, self.right], {**self.values, **arrays})
        if self.left != 0:
            q = expm(way * left) @ q
        return {self.block: q @ expm(way * right) if self.right != 0 else q}


@dataclass(frozen=True)
class _Activated:
    """q' = c sigma(q)/sigma'(q): sigma(q) by e^(cs)."""

    block: Block
    rate: Any
    moved: Callable[[Any, Any], Any]
    values: Mapping[Any, Any]

    @classmethod
    def of(cls, block: Block, direction: Any, values: Any) -> _Activated | None:
        for activation in ACTIVATIONS.values():
            slope = activation.direction(block)
            for coefficient in {c for c, _ in block_terms(direction)}:
                rate = coefficient / block_terms(slope)[0][0]
                if not rate.has(block) and sp.expand(direction - rate * slope) == 0:
                    return cls(block, rate, activation.moved, values)
        return None

    def __call__(self, arrays: Arrays, s: Arrays) -> dict[Any, Any]:
        (rate,) = evaluate([self.rate], {**self.values, **arrays})
        return {self.block: self.moved(arrays[self.block], rate * s[self.block])}


# ------------------------------------------------------------------ by a field


@dataclass(frozen=True)
class _Field:
    """Several blocks that move together, or one by no closed form."""

    moving: Mapping[Any, Any]
    values: Mapping[Any, Any]

    def _field(self, arrays: Arrays, s: Arrays) -> Callable[[Arrays], dict[Any, Any]]:
        """The generator by s, of the arrays that move."""

        def field(q: Arrays) -> dict[Any, Any]:
            found = evaluate(self.moving.values(), {**self.values, **arrays, **q})
            return {
                block: jnp.broadcast_to(s[block] * direction, q[block].shape)
                for block, direction in zip(self.moving, found, strict=True)
            }

        return field


@dataclass(frozen=True)
class _Series(_Field):
    """exp(xi) of an affine field: the exponential series, n times that of xi/n."""

    def __call__(self, arrays: Arrays, s: Arrays) -> dict[Any, Any]:
        start, unravel = ravel_pytree([arrays[block] for block in self.moving])
        by_block = lambda vector: dict(zip(self.moving, unravel(vector), strict=True))
        inner = self._field(arrays, s)
        field = lambda vector: ravel_pytree([*inner(by_block(vector)).values()])[0]
        slope = lambda vector: jax.jvp(field, (start,), (vector,))[1]
        parts = jnp.maximum(jnp.ceil(_norm(slope, start)), 1.0)

        def part(_: Any, q: Any) -> Any:
            def term(k: Any, carry: Any) -> Any:
                moved, change = carry
                change = slope(change) / (k * parts)
                return moved + change, change

            change = field(q) / parts
            return jax.lax.fori_loop(2, _SERIES, term, (q + change, change))[0]

        end = jax.lax.fori_loop(0, parts.astype(int), part, start)
        return by_block(end)


def _norm(slope: Callable[[Any], Any], like: Any) -> Any:
    """The norm of a linear map, by the power method."""
    back = jax.linear_transpose(slope, like)

    def power(_: Any, carry: Any) -> Any:
        vector, _ = carry
        turned = slope(vector)
        size = jnp.linalg.norm(turned)
        (vector,) = back(turned)
        return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-300), size

    drawn = jax.random.normal(jax.random.key(0), like.shape, like.dtype)
    start = drawn / jnp.linalg.norm(drawn), jnp.zeros((), like.dtype)
    return jax.lax.fori_loop(0, _POWERS, power, start)[1]


@dataclass(frozen=True)
class _Integrated(_Field):
    """The flow of a nonlinear field from 0 to 1; nan where it ends before that."""

    def __call__(self, arrays: Arrays, s: Arrays) -> dict[Any, Any]:
        inner, blocks = self._field(arrays, s), tuple(self.moving)
        field = lambda q: [*inner(dict(zip(blocks, q, strict=True))).values()]
        start = [arrays[block] for block in blocks]
        # What is zero everywhere may stay so.
        floor = _FLOOR * _largest(start) + jnp.finfo(float).tiny
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, q, _: field(q)),
            diffrax.Dopri8(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=start,
            stepsize_controller=diffrax.PIDController(
                rtol=_TOLERANCE, atol=floor, norm=_largest
            ),
            max_steps=_MOST_STEPS,
            throw=False,
        )
        arrived = found.result == diffrax.RESULTS.successful
        ends = [jnp.where(arrived, q[0], jnp.nan) for q in jax.tree.leaves(found.ys)]
        return dict(zip(blocks, ends, strict=True))


def _largest(arrays: Any) -> Any:
    return jnp.max(jnp.abs(ravel_pytree(arrays)[0]))
