r"""The exact conservation laws of training, for every rule, network and symmetry.

The symmetries are those that `discover` finds. Nothing is assumed of the loss, the
batches or the size of the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy as sp
from flax import nnx

from lagrangian.errors import LagrangianError
from lagrangian.learning.checking.check import ROUNDING, check
from lagrangian.learning.discover.discovery import Discovery, discover
from lagrangian.learning.rules.adaptive import Adam, Lion, RMSProp
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent, NaturalGradient
from lagrangian.learning.rules.rule import Rule
from lagrangian.learning.training.run import Run
from lagrangian.learning.training.train import train
from lagrangian.lowering.pytrees import named_leaves
from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy
from lagrangian.networks.networks import (
    Perceptron,
    ResidualNetwork,
    Transformer,
    mean_square,
)
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.symbolic.algebra.symmetry import Scale, Symmetry
from lagrangian.symbolic.laws.discrete import Steps, step
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.theorems.dynamics.torque import torque_claims
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
)

STEPS, BATCH = 30, 16
#: Laws of one network: the first found of each family, and of each number of units.
LAWS = 8
HEAVY_BALL = HeavyBall(0.02, 0.9, weight_decay=1e-3)
RULES: dict[str, Rule] = {
    "heavy ball": HEAVY_BALL,
    "gradient descent": HeavyBall(0.05),
    "Nesterov": HeavyBall(0.02, 0.9, weight_decay=1e-3, nesterov=True),
    "decoupled decay": HeavyBall(0.02, 0.9, weight_decay=1e-2, decoupled=True),
    "dampening": HeavyBall(0.05, 0.9, weight_decay=1e-3, dampening=0.5),
    "schedule": HeavyBall(optax.linear_schedule(0.0, 0.05, 20), 0.9, 1e-3),
    "RMSProp": RMSProp(1e-3, weight_decay=1e-3),
    "Adam": Adam(1e-3),
    "AdamW": Adam(1e-3, weight_decay=0.1),
    "Lion": Lion(1e-3, weight_decay=0.1),
    "sign descent": Lion(1e-3, b1=0.0, b2=0.0),
    "mirror descent": MirrorDescent(
        0.02, lambda x: x * sp.asinh(x) - sp.sqrt(x**2 + 1)
    ),
    "natural gradient": NaturalGradient(0.02, lambda x: sp.cosh(x)),
}


@dataclass(frozen=True)
class Case:
    """A network by its maker, (dtype, seed) -> model, with its loss and its data.

    `broken` names a block whose scale is no symmetry.
    """

    make: Callable[[Any, int], Any]
    loss: Callable[[Any, Any], Any]
    data: Callable[[np.random.Generator], Any]
    broken: str


def _vectors(generator: np.random.Generator) -> Any:
    return generator.normal(size=(64, 6)), generator.integers(0, 3, 64)


def _images(generator: np.random.Generator) -> Any:
    return generator.normal(size=(64, 8, 8, 1)), generator.integers(0, 10, 64)


def _tokens(generator: np.random.Generator) -> Any:
    return generator.integers(0, 7, (64, 6)), generator.integers(0, 7, (64, 6))


def _targets(generator: np.random.Generator) -> Any:
    return generator.normal(size=(64, 6)), generator.normal(size=(64, 3))


def _perceptron(*sizes: int, **keywords: Any) -> Callable[[Any, int], Any]:
    return lambda dtype, seed: Perceptron(
        sizes, nnx.Rngs(seed), param_dtype=dtype, **keywords
    )


CASES: dict[str, Case] = {
    "ReLU perceptron": Case(
        _perceptron(6, 8, 8, 3), cross_entropy, _vectors, "layers.2.kernel"
    ),
    "weight normalisation": Case(
        _perceptron(6, 8, 8, 3, normalisation="weight"),
        cross_entropy,
        _vectors,
        "layers.2.bias",
    ),
    "linear network": Case(
        _perceptron(6, 5, 4, 4, 3, activation=None, use_bias=False),
        mean_square,
        _targets,
        "layers.0.kernel",
    ),
    "BatchNorm convolution": Case(
        lambda dtype, seed: ConvolutionalNetwork(
            nnx.Rngs(seed), channels=(3, 4), param_dtype=dtype
        ),
        cross_entropy,
        _images,
        "dense.kernel",
    ),
    "residual network": Case(
        lambda dtype, seed: ResidualNetwork(nnx.Rngs(seed), param_dtype=dtype),
        cross_entropy,
        _vectors,
        "embed.kernel",
    ),
    "transformer": Case(
        lambda dtype, seed: Transformer(nnx.Rngs(seed), param_dtype=dtype),
        cross_entropy,
        _tokens,
        "head.kernel",
    ),
}


def _prove(setting: Setting) -> Evidence:
    if setting.subject is not None:
        return _prove_of_subject(setting)
    claims: list[Claim] = []
    curves: list[Curve] = []
    generator = np.random.default_rng(setting.seed)
    for name, case in CASES.items():
        data = case.data(generator)
        model = _made(case, jnp.float64, setting.seed)
        setting.report(f"{name}: symmetries")
        found = discover(model, case.loss, data, seed=setting.seed)
        for dtype, arrays in ((jnp.float64, data), (jnp.float32, _short(data))):
            model = _made(case, dtype, setting.seed)
            worst = 0.0
            for rule_name, rule in RULES.items():
                setting.report(f"{name}, {dtype.__name__}: {rule_name}")
                run, laws = _trained(model, case.loss, arrays, rule, found)
                worst = max(worst, _residual(run, laws))
                if rule is HEAVY_BALL:
                    curves.append(_curve(f"{name}, {dtype.__name__}", run, laws))
            families = ", ".join(dict.fromkeys(law.symmetry.name for law in laws))
            what = f"{name} ({families}), {len(RULES)} rules, {dtype.__name__}"
            claims.append(below(what, worst, _rounding(dtype)))
            control = [_law(HEAVY_BALL, Scale(case.broken))]
            run, _ = _trained(model, case.loss, arrays, HEAVY_BALL, found, control)
            what = f"scale of {case.broken}, {dtype.__name__}"
            broken = below(
                what, _residual(run, control), _rounding(dtype), control=True
            )
            claims.append(broken)
        curves.append(_curve(f"{name}, control", run, control))
    setting.report("a head that turns in the plane")
    claims += torque_claims(setting.seed)
    return Evidence(_derivation(), tuple(claims), (_panel(curves),))


def _prove_of_subject(setting: Setting) -> Evidence:
    assert setting.subject is not None
    model, loss, data = setting.subject
    setting.report("your network: symmetries")
    found = discover(model, loss, _some_rows(data, setting.seed), seed=setting.seed)
    if not found:
        raise LagrangianError(
            "`discover` finds no exact symmetry of this loss, so it has no exact law. "
            f"Pass a network with one, such as ReLU or BatchNorm give it:\n{found}"
        )
    claims, curves = [], []
    for name, rule in (("heavy ball", HEAVY_BALL), ("Adam", Adam(1e-3))):
        setting.report(f"your network: {name}")
        run, laws = _trained(model, loss, data, rule, found)
        bound = _rounding(run.dtype)
        for law in laws:
            what = f"{name}, {law.symmetry.name} of {', '.join(_paths(law))}"
            claims.append(below(what, _residual(run, [law]), bound))
        curves.append(_curve(name, run, laws))
    broken = _without_symmetry(model, loss, data, setting.seed)
    control = _law(HEAVY_BALL, broken)
    run, _ = _trained(model, loss, data, HEAVY_BALL, found, [control])
    what = f"heavy ball, {broken!r}"
    claims.append(below(what, _residual(run, [control]), bound, control=True))
    curves.append(_curve(f"{broken!r}", run, [control]))
    return Evidence(_derivation(), tuple(claims), (_panel(curves),))


def _made(case: Case, dtype: Any, seed: int) -> Any:
    with jax.enable_x64(dtype == jnp.float64):
        return case.make(dtype, seed)


def _short(data: Any) -> Any:
    def short(leaf: np.ndarray) -> np.ndarray:
        return leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf

    return jax.tree.map(short, data)


def _some_rows(data: Any, seed: int, rows: int = 256) -> Any:
    """A batch for `discover`: data may come class by class."""
    leaf = jax.tree.leaves(data)[0]
    chosen = np.random.default_rng(seed).permutation(len(leaf))[:rows]
    return jax.tree.map(lambda a: np.asarray(a)[chosen], data)


def _law(rule: Rule, symmetry: Symmetry) -> Law:
    return noether(rule.lagrangian(symmetry.loss), symmetry)


def _chosen(found: Discovery) -> list[Symmetry]:
    """Some of what was found: as many kinds as there are."""
    kinds: dict[Any, list[Any]] = {}
    for symmetry in found:
        kinds.setdefault((symmetry.name, len(symmetry.xi)), []).append(symmetry)
    firsts = [members[0] for members in kinds.values()]
    return firsts[:LAWS]


def _trained(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    rule: Rule,
    found: Discovery,
    laws: list[Law] | None = None,
) -> tuple[Run, list[Law]]:
    if laws is None:
        laws = [_law(rule, symmetry) for symmetry in _chosen(found)]
    run = train(
        model,
        loss,
        data,
        rule,
        STEPS,
        observe=laws,
        maps=found.maps,
        batch_size=BATCH,
        progress=False,
    )
    return run, laws


def _rounding(dtype: Any) -> float:
    return ROUNDING * float(jnp.finfo(dtype).eps)


def _residual(run: Run, laws: list[Law]) -> float:
    """The largest of all laws, steps and units, relative to its bound."""
    return max(row.discrete for row in check(run, laws))


def _paths(law: Law) -> list[str]:
    return [q.name for q in law.symmetry.xi]


def _without_symmetry(model: Any, loss: Any, data: Any, seed: int) -> Scale:
    """The scale of a parameter that the loss is least invariant under."""
    parameters = nnx.state(model, nnx.Param) if isinstance(model, nnx.Module) else model
    candidates = [Scale(path) for path in named_leaves(parameters)]
    batch = _some_rows(data, seed)
    tested = discover(model, loss, batch, candidates=candidates, seed=seed).tested
    defects = {c: row.residual for c, row in zip(candidates, tested, strict=True)}
    return max(defects, key=lambda c: defects[c])


def _curve(name: str, run: Run, laws: list[Law]) -> Curve:
    steps = np.zeros(run.steps)
    for law in laws:
        record = run[law]
        scale = np.where(record.scale > 0, record.scale, 1.0)
        ratio = np.abs(record.discrete / scale).reshape(run.steps, -1)
        steps = np.maximum(steps, ratio.max(axis=1))
    is_broken = steps.max() > 1e-3
    shown = np.maximum(steps, 1e-18)  # a residual may be exactly zero
    return Curve(
        name, np.arange(run.steps), shown, "control" if is_broken else "measured"
    )


def _panel(curves: list[Curve]) -> Panel:
    return Panel(
        "residual of the exact discrete law (crosses: a scale that is no symmetry)",
        "step",
        "largest relative residual",
        tuple(curves),
        ylog=True,
    )


def _derivation() -> tuple[str, ...]:
    """The law of a scale, as the engine derives it."""
    symmetry = Scale("w")
    steps = Steps(Loss("f", symmetry.blocks))
    law = noether(steps, symmetry)
    after = law.charge + steps.total_derivative(step, law.charge)
    return (sp.latex(sp.Eq(after, sp.expand(law.charge + law.rate))),)


THEOREM = Theorem(
    name="discrete-noether",
    title="Training obeys exact conservation laws at any learning rate",
    statement=r"""Let a rule move the parameters $q$ by $q' = q + u$, with the covector
$p' = \beta p + \kappa(\nabla f(q) + \lambda q)$, and let $\langle\nabla f(q), Aq\rangle
= 0$ for a linear generator $A$ and every batch. Then at every step, to rounding,

$$\langle p', Aq'\rangle = \beta\langle p, Aq\rangle + \kappa\lambda\langle q, Aq\rangle
+ \langle p', Au\rangle,$$

for every learning rate, schedule, minibatch and rule. Heavy-ball training ($u = -\eta
p'$) is a variational integrator, and this is its discrete Noether theorem. Where the
loss breaks the symmetry, its torque stands beside: for $z = Uh$ in the plane, labels at
angles $\vartheta$, and $f = \frac12E|z - e^{i\vartheta}|^2$,
$\langle p', JU'\rangle = \beta\langle p, JU\rangle
- E\,\mathrm{Im}(e^{i\vartheta}\bar z)$, and no torque for a loss of $|z|$.""",
    source='Tanaka & Kunin, "Noether\'s Learning Dynamics" (2021), in discrete time; '
    'Marsden & West, "Discrete mechanics and variational integrators" (2001).',
    prove=_prove,
    takes_subject=True,
)
