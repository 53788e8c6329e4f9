"""A head that turns in the plane: what labels do to its angular momentum.

The angle of z = U h is a symmetry of every loss of |z| alone. Labels at angles break
it, and their torque is what moves <p, J U>.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.networks.digits import load_digits
from lagrangian.symbolic.algebra.blocks import Block, LinearMap
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Rotation
from lagrangian.symbolic.laws.discrete import Steps
from lagrangian.symbolic.laws.noether import noether
from lagrangian.theorems.theorem import Claim, below, identity

ETA, BETA = 0.05, 0.9
STEPS, IMAGES = 60, 256
_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def torque_claims(seed: int) -> Iterator[Claim]:
    """c' - beta c is the torque of the labels, and 0 for a loss of |z| alone."""
    U, turn = Block("U"), LinearMap("J", parity=-1)
    loss = Loss("f", [U])
    law = noether(Steps(loss), Rotation(U, turn))
    torque = Inner(loss.gradient(U), turn(U))
    symmetric = Loss("f", [U], [{U: turn(U)}])
    kept = noether(Steps(symmetric), Rotation(U, turn))
    broken = sp.expand(law.rate - kept.rate)
    what = "head in the plane: what a loss that is not symmetric adds to the law"
    coefficient = broken.coeff(torque)
    yield identity(f"{what}, less its torque", broken - coefficient * torque)
    measured = {
        name: _residuals(of, seed)
        for name, of in {
            "a loss of |z|": _sombrero,
            "angles of labels": _angles,
        }.items()
    }
    for name, (balance, predicted) in measured.items():
        size = np.abs(measured["angles of labels"][0]).max()
        what = f"digits, {name}: <p', J U'> - beta <p, J U>"
        off = float(np.abs(balance - predicted).max() / size)
        yield below(f"{what} less the torque of the labels", off, 1e-12)
    balance, _ = measured["angles of labels"]
    what = "digits, angles of labels: the same without the torque"
    off = float(np.abs(balance).max() / size)
    yield below(what, off, 1e-12, control=True)


def _sombrero(z: Any, labels: Any) -> Any:
    return ((z**2).sum(axis=1) - 1) ** 2 / 4


def _angles(z: Any, labels: Any) -> Any:
    return ((z - _places(labels)) ** 2).sum(axis=1) / 2


def _places(labels: Any) -> Any:
    angle = 2 * np.pi * labels / 10
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)


def _residuals(
    loss: Callable[[Any, Any], Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """c' - beta c of each step of the heavy ball; -E Im(e^(i theta) conj z), or 0."""
    (images, labels), _ = load_digits(seed)
    with jax.enable_x64(True):
        h = jnp.asarray(images[:IMAGES].reshape(IMAGES, -1), float)
        labels = jnp.asarray(labels[:IMAGES])
        U = jnp.asarray(np.random.default_rng(seed).normal(size=(2, 64))) / 8

        def step(carry: Any, _: Any) -> Any:
            U, p = carry
            slope = jax.grad(lambda U: loss(h @ U.T, labels).mean())(U)
            after = BETA * p + slope
            moved = U - ETA * after
            balance = (after * (_TURN @ moved)).sum() - BETA * (p * (_TURN @ U)).sum()
            place, z = _places(labels), h @ U.T
            pull = (place[:, 0] * z[:, 1] - place[:, 1] * z[:, 0]).mean()
            return (moved, after), (balance, pull)

        _, (balance, pull) = jax.lax.scan(step, (U, 0 * U), length=STEPS)
        balance, pull = np.asarray(balance), np.asarray(pull)
    return balance, pull if loss is _angles else 0 * pull
