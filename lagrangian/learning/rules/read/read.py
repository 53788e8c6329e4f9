"""`rule`: a learning rule, read from the code of any optax transformation."""

from __future__ import annotations

import copyreg
from typing import Any

from flax import nnx

from lagrangian.learning.model import split
from lagrangian.learning.pickled import packed, unpacked
from lagrangian.learning.rules.read.alike import read_alike
from lagrangian.learning.rules.read.euclidean import ReadEuclidean
from lagrangian.learning.rules.read.geometry import ReadGeometry
from lagrangian.learning.rules.read.kinds import kind_of
from lagrangian.learning.rules.read.metric import ReadMetric
from lagrangian.learning.rules.read.read_rule import ReadRule
from lagrangian.learning.rules.read.rules import AnyRule, made
from lagrangian.learning.rules.rule import Rule
from lagrangian.symbolic.algebra.blocks import Block


def rule(tx: Any, parameters: Any = None) -> ReadRule:
    """The learning rule that an optax transformation is, read from its own code.

    `tx.init` and `tx.update` are traced on arrays of few elements, and what JAX would
    compute is computed in symbols: the update u(g, state, q) of an element, with the
    numbers that the user wrote as rationals (the shortest decimal of a float32), and
    with sums over arrays (a global norm) as symbols of their own. From these it is
    derived, and nowhere looked up, what kinetic energy the rule has:

    - linear in the gradients of the past: m/2 |v|^2, with memory, gain, mass, friction
      and decay, and with its flows, as `HeavyBall` has them;
    - the slope of a convex function of a covector (sign, clipping): its Legendre
      transform;
    - linear but for averages that are held fixed (Adam, Adafactor): <v, D v>/2;
    - none: then it says why. Its discrete law is exact all the same.

    `print` shows it in ten lines, with the symmetries of the loss that it keeps. What
    has no symbolic form (a product of matrices, a sort) is named by the primitive and
    the line of code. Sums of squares are taken to be above zero. Numbers below 1e-5
    that guard a division, and what happens where real numbers are equal, are left out
    of what is derived, though not of u. Hyperparameters in the state are read as they
    start.

    Returns:
        A `Rule`, which prints what it is; `train`, `noether` and `check` take it.

    >>> import lagrangian as lg
    >>> import optax
    >>> rule = lg.rule(optax.sgd(0.1, momentum=0.9))
    >>> print(rule)
    Optax rule (linear in the gradients of the past, eta = 1/10)
      u = -trace'/10
      trace' = g + 9*trace/10
      kinetic energy: T = m/2 |v|^2
      eta = 1/10, m = 19/20 eta, mu = 1/10
      balance: p' = 9/10 p + grad f, p = trace
      keeps rotation, permutation, translation
      breaks scale and rescale (the size of a move does not follow that of q)

    Args:
        tx: an `optax.GradientTransformation`: a chain, a schedule, a mask, an
            optimiser of `optax.contrib`.
        parameters: a Flax module, or a pytree of arrays or shapes, for a transformation
            that treats them by their structure (masks, labels); a matrix and a vector
            if None. `rule.of(block)` is the rule as it treats one of them: it trains
            by the whole of `tx`, and its laws are those of that block's group.

    Raises:
        LagrangianError: no transformation, or one that cannot be traced.
    """
    if isinstance(parameters, nnx.Module):
        parameters = split(parameters).parameters
    reading = read_alike(tx, parameters)
    known: dict[Any, Any] = {}  # arrays that are updated alike are of one kind
    kinds = {}
    for leaf, part in reading.parts.items():
        if part.form not in known:
            known[part.form] = kind_of(part)
        kinds[leaf] = known[part.form]
    return made(tx, reading, kinds)


def _reduced(read: ReadRule) -> Any:
    """For pickle: what it was read from. In the other process it is read again."""
    reading = read.reading
    leaf = None if set(reading.parts) == set(read.kinds) else next(iter(read.kinds))
    source = {"tx": read.transformation, "parameters": reading.traced.like}
    return _read_again, (packed(source, read), leaf)


def _read_again(source: dict[str, Any] | bytes, leaf: str | None) -> Rule:
    found = rule(**unpacked(source))
    return found if leaf is None else found.of(Block(leaf))


for _kind in (AnyRule, ReadEuclidean, ReadGeometry, ReadMetric):
    copyreg.pickle(_kind, _reduced)
