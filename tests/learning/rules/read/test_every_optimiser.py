"""Every transformation of the installed optax: read, and right, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.learning.rules.read.part import count, value
from lagrangian.lowering.pytrees import named_leaves

from .conftest import document

TARGET = np.random.default_rng(3).normal(size=(2, 2))
#: One number may be divided by another that is nearly zero, as eps is in `sm3`.
CLOSE = dict(rtol=1e-6, atol=1e-12)


def loss(q):
    """Of the direction of the kernel and of the bias."""
    u = q["kernel"] / jnp.linalg.norm(q["kernel"])
    bent = jnp.sum(jnp.sin(u @ jnp.asarray(TARGET))) + jnp.sum(jnp.cos(q["bias"]))
    return bent + jnp.sum(u[0] * q["bias"])


def start():
    generator = np.random.default_rng(5)
    return {
        "bias": jnp.asarray(generator.normal(size=2)),
        "kernel": jnp.asarray(generator.normal(size=(2, 2))),
    }


def run(rule, steps):
    """(q, gradient, state, updates, new state) of each step, in float64."""
    tx, q = rule.optax(), start()
    state = tx.init(q)

    @jax.jit
    def step(state, q):
        f, gradient = jax.value_and_grad(loss)(q)
        known = {"value": f, "grad": gradient, "value_fn": loss, "obj_fn": loss}
        extra = {name: known[name] for name in rule.reading.traced.extra}
        return (gradient, f, *tx.update(gradient, state, q, **extra))

    for _ in range(steps):
        gradient, f, updates, new_state = step(state, q)
        yield q, gradient, f, state, updates, new_state
        q, state = optax.apply_updates(q, updates), new_state


class Numbers:
    """The symbols of a reading, in numbers."""

    def __init__(self, reading, arrays, k, f):
        self.evaluation, self.known = reading.evaluation, {count: k, value: f}
        for symbols, array in zip(reading.arguments, arrays, strict=True):
            for index in np.ndindex(*symbols.shape):
                if isinstance(symbols[index], sp.Symbol):
                    number = np.asarray(array)[index]
                    self.known.setdefault(symbols[index], np.float64(number))

    def __call__(self, expression):
        symbols = sorted(expression.free_symbols, key=str)
        numbers = [self.number(s) for s in symbols]
        found = sp.lambdify(symbols, expression, "numpy")(*numbers)
        return float(found)

    def number(self, symbol):
        if symbol not in self.known:
            if symbol in self.evaluation.reductions:
                reduction = self.evaluation.reductions[symbol]
                kinds = {"sum": sum, "max": max, "min": min, "prod": np.prod}
                terms = [self(t) for t in reduction.terms]
                self.known[symbol] = np.float64(kinds[reduction.kind](terms))
            else:
                self.known[symbol] = np.float64(self(self.evaluation.defined[symbol]))
        return self.known[symbol]


def assert_symbols_agree(rule, step, k):
    """The symbols give the numbers of JAX, where they have a form."""
    reading = rule.reading
    q, gradient, f, state, updates, _ = step
    arrays = [*jax.tree.leaves(gradient), *jax.tree.leaves(state)]
    arrays += [*jax.tree.leaves(q)] + [f] * ("value" in reading.traced.extra)
    arrays = [np.zeros(a.shape) if is_key(a) else a for a in arrays]
    numbers = Numbers(reading, arrays, k, f)
    for leaf, expected in named_leaves(updates).items():
        if reading.parts[leaf].opaque or reading.parts[leaf].noise:
            continue
        found = reading.updates[leaf]
        for index in [(0,) * found.ndim, (1,) * found.ndim]:
            np.testing.assert_allclose(numbers(found[index]), expected[index], **CLOSE)


def is_key(array):
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def residual(rule, step):
    """Of the exact discrete law of scaling the kernel, relative to its bound."""
    q, gradient, _, state, updates, new_state = step
    before, after = rule.trace(state), rule.covector(new_state, gradient, q)
    moved = optax.apply_updates(q, updates)
    beta, gain, decay = rule.memory, rule.gain, rule.coupled_decay
    pairs = [
        (1, named_leaves(after), moved),
        (-gain, gradient, q),
        (-gain * decay, q, q),
        (-1, named_leaves(after), updates),
    ]
    if before is not None:
        pairs.append((-beta, named_leaves(before), q))
    kernels = [(c, a["kernel"], b["kernel"]) for c, a, b in pairs]
    bound = sum(abs(c) * jnp.linalg.norm(a) * jnp.linalg.norm(b) for c, a, b in kernels)
    return abs(sum(c * jnp.vdot(a, b) for c, a, b in kernels)) / bound


#: One of each kind, and what is awkward; the others are slow in their number.
QUICK = (
    "sgd adam lion adafactor lars adan clip_by_global_norm masked noisy_sgd sm3 "
    "contrib.muon contrib.schedule_free optimistic_gradient_descent"
).split()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, _ in document.names()
    ],
)
def test_it_is_read_or_refused(name):
    """Read: the numbers are JAX's, and the law exact. The page of the docs is this."""
    written = document.PAGE.read_text()
    if name.removeprefix("contrib.") in document.REFUSED:
        assert f"| {name} | refused | - |" in written
        return
    rule = lg.rule(document.transformation(name, dict(document.names())[name]))
    with jax.enable_x64(True):
        steps = list(run(rule, 4))
        assert_symbols_agree(rule, steps[2], 2)
        assert max(residual(rule, step) for step in steps) < 1e-14
    if f"optax\n{optax.__version__}:" in written:
        assert document.section(name, rule) in written
        assert document.row(name, rule) in written


def test_what_is_read_of_another_rule_is_refuted():
    """The control: other decay rates, other numbers, and another balance."""
    read, made = (lg.rule(optax.adam(0.01, b1=b)) for b in (0.9, 0.8))
    with jax.enable_x64(True):
        step = list(run(made, 3))[2]
        assert_symbols_agree(made, step, 2)
        assert residual(made, step) < 1e-14 < 1e-6 < residual(read, step)
        with pytest.raises(AssertionError, match="Not equal"):
            assert_symbols_agree(read, step, 2)
