"""Loops as one kernel: the same numbers, called, compiled, batched, differentiated."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.lowering.kernels.fused import fused


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def orbit(q, steps):
    """Enough work an iteration that XLA would not make it one kernel of itself."""

    def body(_, carry):
        q, history = carry
        q = q + 1e-3 * jnp.sin(q[::-1]) * jnp.where(q > 0, q, 1.0)
        return q, history.at[1:].set(history[:-1]).at[0].set(q)

    return jax.lax.fori_loop(0, steps, body, (q, jnp.zeros((40, *q.shape))))[1].sum(0)


Q = jnp.linspace(-1.0, 2.0, 6)


def test_it_is_one_kernel():
    text = jax.jit(fused(orbit)).lower(Q, 10).as_text()
    assert 'xla_cpu_small_call = "true"' in text


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: f,
        jax.jit,
        lambda f: lambda q, n: jax.vmap(f, (0, None))(jnp.stack([q, q]), n)[1],
        lambda f: lambda q, n: jax.jit(jax.jacfwd(f))(q, n),
        lambda f: lambda q, n: jax.jvp(lambda q: f(q, n), (q,), (q,))[1],
    ],
)
def test_it_changes_no_number(transform):
    expected = transform(orbit)(Q, 50)
    np.testing.assert_allclose(transform(fused(orbit))(Q, 50), expected, rtol=1e-13)


def test_a_large_constant_reaches_the_kernel():
    """XLA's compiler ends the process where one is handed over as it is."""
    places = np.random.default_rng(0).integers(0, 6, (3, 5000))

    def gathered(q, steps):
        def body(_, q):
            rows = q.at[places].get(mode="promise_in_bounds")
            return q / 2 + 1e-3 * jnp.cos(rows[0] * rows[1] + rows[2])[:6]

        return jax.lax.fori_loop(0, steps, body, q)

    @jax.jit
    def outer(q):
        return fused(lambda q: gathered(q, 9))(q + 1)

    np.testing.assert_allclose(outer(Q), gathered(Q + 1, 9), rtol=1e-13)


def unread(q, t, empty, count):
    """Reads `t` as JAX sees it, and not once XLA has simplified it; nor the rest."""
    start = jnp.concatenate([q, t])[: q.size]
    turned = jax.lax.fori_loop(0, 5, lambda _, q: jnp.sin(q[::-1]) + 0.1, start)
    return turned, jnp.sum(empty)


def unread_from_outside(q, t, empty, count):
    return fused(lambda q: unread(q, t, empty, count))(q)


def readings(program):
    """How often kernels read each of their arguments, in the text of a program."""
    names = re.findall(r'to_apply=%?([^\s,]+),.*xla_cpu_small_call="true"', program)
    for name in names:
        pattern = rf"^%?{re.escape(name)} .*?\{{(.*?)^\}}"
        (body,) = re.findall(pattern, program, re.M | re.S)
        for argument in re.findall(r"(\S+) = \S+ parameter\(\d+\)", body):
            yield len(re.findall(rf"{re.escape(argument)}(?![\w.])", body)) - 1


@pytest.mark.parametrize("function", [fused(unread), unread_from_outside])
@pytest.mark.parametrize(
    "transform",
    [
        lambda f: f,
        lambda f: lambda *a: f(*a)[0],
        lambda f: lambda q, *a: jax.jvp(lambda q: f(q, *a), (q,), (q,)),
        lambda f: lambda q, t, *a: jax.jvp(lambda t: f(q, t, *a), (t,), (t,)),
        lambda f: lambda q, *a: jax.vmap(lambda k: f(k * q, *a))(jnp.arange(2.0)),
    ],
    ids=["plain", "one result", "derivative", "derivative of nothing", "batch"],
)
def test_a_kernel_reads_each_of_its_arguments(function, transform):
    """Where it does not, XLA's compiler ends the process."""
    arguments = Q, jnp.ones(3), jnp.ones((0, 2)), jnp.int32(4)
    compiled = jax.jit(transform(function)).lower(*arguments).compile()
    counts = list(readings(compiled.as_text()))
    assert counts and min(counts) > 0
    jax.tree.map(
        lambda got, expected: np.testing.assert_allclose(got, expected, rtol=1e-13),
        compiled(*arguments),
        transform(unread)(*arguments),
    )
