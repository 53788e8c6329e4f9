"""Symmetries of losses against kinetic energies, each for the engine and in plain JAX.

The plain forms share nothing with the engine: a kinetic energy is a function of two
arrays, and a symmetry a finite transformation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.learning.rules.rule import friction, mass
from lagrangian.symbolic.algebra.blocks import Block, ConstantBlock
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Gradient, Loss
from lagrangian.symbolic.algebra.matrices import matmul, transpose
from lagrangian.symbolic.algebra.symmetry import (
    GeneralLinear,
    Rescale,
    Scale,
    Symmetry,
    Translation,
)
from lagrangian.symbolic.mechanics.bregman import bregman_lagrangian
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Every block is a matrix of this shape.
SHAPE = (3, 3)
MASS, FRICTION = 0.6, 0.5

_INDEX = np.arange(1.0, 10.0).reshape(SHAPE)
_TARGET, _MIXED = np.sin(_INDEX**2), np.cos(_INDEX**2)
_METRIC = 0.5 + _INDEX / 5
_EVEN, _ODD = (_MIXED + sign * _MIXED.T for sign in (1, -1))

_q, _W1, _W2 = Block("q"), Block("W_1"), Block("W_2")
_K, _Q = Block("W_K"), Block("W_Q")
_a = ConstantBlock("a")
_even, _odd = (ConstantBlock("A", parity=parity) for parity in (1, -1))


def _diagonal(block: Block) -> ConstantBlock:
    """The metric of a block, entry by entry: G of q, and G_1 of W_1."""
    return ConstantBlock(f"G{block.name[1:]}")


#: What the symbols of laws stand for in numbers.
VALUES: dict[Any, Any] = {
    mass: MASS,
    friction: FRICTION,
    _a: _TARGET,
    _even: _EVEN,
    _odd: _ODD,
    **{_diagonal(w): _METRIC for w in (_q, _W1, _W2, _K, _Q)},
}


# ------------------------------------------------------------------ energies


@dataclass(frozen=True)
class KineticEnergy:
    """The kinetic energy of one block; that of several is the sum.

    Attributes:
        of_block: in the symbols of the engine.
        plain: the same of arrays q and v, at `MASS`.
    """

    of_block: Callable[[Block], Any]
    plain: Callable[[Any, Any], Any]


def potential(x: Any) -> Any:
    """A strictly convex h that no symmetry of the table leaves alone."""
    return jnp.sum(jnp.cosh(x)) + jnp.sum(_TARGET * x) ** 4 / 12


#: What the engine's opaque h is, in numbers.
OPAQUE = {"h": potential}


def _quartic(square: Any) -> Any:
    """h of |x|^2: |x|^2/2 + |x|^4/4."""
    return square / 2 + square**2 / 4


def _metric(of_block: Callable[[Block], Any]) -> Callable[[Block], Any]:
    return lambda w: mass / 2 * Inner(w.dot, of_block(w))


def _hessian(w: Block) -> Any:
    return Gradient(Loss("h", w), w, (w, w.dot))


def _bregman(h: Callable[[Any], Any]) -> Callable[[Block], Any]:
    """e^{-alpha} is the mass: D_h(q + m qdot, q)/m goes to m/2 <qdot, Hess h qdot>."""

    def of_block(w: Block) -> Any:
        damping = friction / mass * time
        return bregman_lagrangian(Loss("f", w), -sp.log(mass), 0, damping, h).T

    return of_block


def _plain_bregman(h: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def plain(q: Any, v: Any) -> Any:
        height, slope = jax.jvp(h, (q,), (MASS * v,))
        return (h(q + MASS * v) - height - slope) / MASS

    return plain


ENERGIES: dict[str, KineticEnergy] = {
    "Euclidean": KineticEnergy(
        _metric(lambda w: w.dot), lambda q, v: MASS / 2 * jnp.sum(v**2)
    ),
    "diagonal": KineticEnergy(
        _metric(lambda w: _diagonal(w) * w.dot),
        lambda q, v: MASS / 2 * jnp.sum(_METRIC * v**2),
    ),
    "Hess h": KineticEnergy(
        _metric(_hessian),
        lambda q, v: (
            MASS / 2 * jnp.sum(v * jax.jvp(jax.grad(potential), (q,), (v,))[1])
        ),
    ),
    "metric 1/q": KineticEnergy(
        _metric(lambda w: w.dot / w), lambda q, v: MASS / 2 * jnp.sum(v**2 / q)
    ),
    "metric 1/q^2": KineticEnergy(
        _metric(lambda w: w.dot / w**2), lambda q, v: MASS / 2 * jnp.sum((v / q) ** 2)
    ),
    "Bregman, h": KineticEnergy(
        _bregman(lambda x: Loss("h", x)), _plain_bregman(potential)
    ),
    "Bregman, radial h": KineticEnergy(
        _bregman(lambda x: _quartic(Inner(x, x))),
        _plain_bregman(lambda x: _quartic(jnp.sum(x**2))),
    ),
}


# ------------------------------------------------------------------ symmetries


@dataclass(frozen=True)
class Row:
    """A symmetry of a loss.

    Attributes:
        symmetry: its generator, for the engine.
        flow: the finite transformation, (s, arrays by block) -> arrays.
        loss: one that it leaves alone, of the arrays in the order of the blocks.
    """

    symmetry: Symmetry
    flow: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    loss: Callable[..., Any]


def away(x: Any) -> Any:
    """A smooth function without symmetries, of a matrix."""
    return jnp.sum(jnp.cos(x - _TARGET))


def without_symmetry(loss: Any) -> Any:
    """The loss and a term that has none of the symmetries."""
    return lambda *arrays: loss(*arrays) + away(1.3 * sum(arrays)) / 4


def _exponential(matrix: np.ndarray) -> Callable[[Any], Any]:
    """s -> exp(s A) for a symmetric or antisymmetric A, by its eigenvectors."""
    values, vectors = np.linalg.eig(matrix)
    inverse = np.linalg.inv(vectors)
    return lambda s: jnp.real((vectors * jnp.exp(s * values)) @ inverse)


def _centred(x: Any) -> Any:
    return away(x - jnp.mean(x))


def _layers(parity: int) -> Row:
    symbol, matrix = (_even, _EVEN) if parity == 1 else (_odd, _ODD)
    turn = _exponential(matrix)
    return Row(
        GeneralLinear(_W2, _W1, symbol),
        lambda s, w: {
            "W_2": w["W_2"] @ turn(s),
            "W_1": turn(-s) @ w["W_1"],
        },
        lambda second, first: away(second @ first),
    )


def _attention(parity: int) -> Row:
    symbol, matrix = (_even, _EVEN) if parity == 1 else (_odd, _ODD)
    turn = _exponential(matrix)
    return Row(
        Symmetry({_K: matmul(symbol, _K), _Q: -matmul(transpose(symbol), _Q)}),
        lambda s, w: {
            "W_K": turn(s) @ w["W_K"],
            "W_Q": turn(-s).T @ w["W_Q"],
        },
        lambda key, query: away(query.T @ key),
    )


ROWS: dict[str, Row] = {
    "translation": Row(
        Translation(_q, _a),
        lambda s, w: {"q": w["q"] + s * _TARGET},
        lambda q: away(q - _TARGET * jnp.sum(_TARGET * q) / np.sum(_TARGET**2)),
    ),
    "rotation": Row(
        Symmetry({_q: matmul(_odd, _q)}),
        lambda s, w: {"q": _exponential(_ODD)(s) @ w["q"]},
        lambda q: away(q.T @ q),
    ),
    "scale": Row(
        Scale(_q),
        lambda s, w: {"q": jnp.exp(s) * w["q"]},
        lambda q: away(q / jnp.sqrt(jnp.sum(q**2))),
    ),
    "rescale": Row(
        Rescale(_W1, _W2),
        lambda s, w: {"W_1": jnp.exp(s) * w["W_1"], "W_2": jnp.exp(-s) * w["W_2"]},
        lambda first, second: away(first * jnp.sum(second)),
    ),
    "GL symmetric": _layers(1),
    "GL antisymmetric": _layers(-1),
    "attention symmetric": _attention(1),
    "attention antisymmetric": _attention(-1),
    "root translation": Row(
        Symmetry({_q: 2 * sp.sqrt(_q)}),
        lambda s, w: {"q": (jnp.sqrt(w["q"]) + s) ** 2},
        lambda q: _centred(jnp.sqrt(q)),
    ),
}


#: The symmetries that each kinetic energy leaves alone, as the theorem states them.
UNBROKEN: dict[str, tuple[str, ...]] = {
    "Euclidean": (
        "translation",
        "rotation",
        "GL antisymmetric",
        "attention antisymmetric",
    ),
    "diagonal": ("translation",),
    "Hess h": (),
    "metric 1/q": ("root translation",),
    "metric 1/q^2": ("scale", "rescale"),
    "Bregman, h": (),
    "Bregman, radial h": ("rotation", "GL antisymmetric", "attention antisymmetric"),
}


def lagrangian_of(energy: str, symmetry: Symmetry) -> Lagrangian:
    """e^{(mu/m) t} (T - f) with an opaque f that has the symmetry."""
    kinetic = sp.Add(*(ENERGIES[energy].of_block(w) for w in symmetry.blocks))
    return Lagrangian(
        kinetic,
        symmetry.loss,
        damping=friction / mass * time,
        coordinates=symmetry.blocks,
    )


def plain_energy(energy: str, q: Mapping[str, Any], v: Mapping[str, Any]) -> Any:
    """T of arrays by block."""
    return sum(ENERGIES[energy].plain(q[name], v[name]) for name in q)


def random_state(row: str, seed: int, speed: float = 0.3) -> tuple[Any, Any]:
    """Arrays by block: positions between 1/2 and 3/2, and velocities of that size."""
    chance = np.random.default_rng(seed)
    names = [w.name for w in ROWS[row].symmetry.blocks]
    q = {name: jnp.asarray(chance.uniform(0.5, 1.5, SHAPE)) for name in names}
    v = {name: jnp.asarray(speed * chance.normal(size=SHAPE)) for name in names}
    return q, v
