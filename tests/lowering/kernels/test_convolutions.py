"""Convolutions in order: the same numbers, and none that XLA is slow at in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagrangian.lowering.kernels.convolutions import _has_unordered, ordered

ORDERS = {
    1: [("NWC", "WIO", "NWC"), ("NCW", "OIW", "NCW"), ("WNC", "IOW", "NCW")],
    2: [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("HWNC", "OHWI", "CNHW")],
    3: [("NDHWC", "DHWIO", "NDHWC"), ("NCDHW", "OIDHW", "NCDHW")],
}


@st.composite
def convolutions(draw):
    """A loss of a convolution with any options, and where to take its gradient."""
    space = draw(st.integers(1, 3))
    numbers = draw(st.sampled_from(ORDERS[space]))
    groups, into, out, count = (draw(st.integers(1, 3)) for _ in range(4))
    sizes = {
        "N": count,
        "C": groups * into,
        "I": into,
        "O": groups * out,
        **dict(zip("DHW"[-space:], draw(st.permutations([4, 5, 6])), strict=False)),
    }
    x_shape = [sizes[axis] for axis in numbers[0]]
    sizes |= dict.fromkeys("DHW", draw(st.integers(1, 3)))
    kernel_shape = [sizes[axis] for axis in numbers[1]]
    options = {
        "window_strides": [draw(st.integers(1, 2)) for _ in range(space)],
        "padding": draw(st.sampled_from(["SAME", "VALID"])),
        "rhs_dilation": [1] * space if draw(st.booleans()) else [2] * space,
        "feature_group_count": groups,
        "dimension_numbers": numbers,
    }
    options["padding"] = "SAME" if sizes["W"] == 3 else options["padding"]
    generator = np.random.default_rng(draw(st.integers(0, 9)))
    x, kernel = (generator.normal(size=s) for s in (x_shape, kernel_shape))

    def loss(x, kernel):
        return jnp.sum(jnp.tanh(jax.lax.conv_general_dilated(x, kernel, **options)))

    return loss, groups, x.astype(np.float32), kernel.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(convolutions())
def test_gradients_are_the_same_numbers(case):
    loss, groups, *at = case
    gradient = jax.grad(loss, (0, 1))
    program = jax.make_jaxpr(ordered(gradient))(*at)
    # Of several groups of features, the gradient has groups of examples.
    assert groups > 1 or not _has_unordered(program.jaxpr)
    for one, other in zip(gradient(*at), ordered(gradient)(*at), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def picture_loss(kernel, x):
    convolve = jax.lax.conv_general_dilated
    numbers = ("NHWC", "HWIO", "NHWC")
    return jnp.sum(convolve(x, kernel, (1, 1), "SAME", dimension_numbers=numbers) ** 2)


X = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("where", ["jit", "scan", "cond", "checkpoint", "while"])
def test_programs_within_are_put_in_order_too(where):
    gradient = jax.grad(picture_loss)

    def twice(kernel):
        return jax.lax.scan(lambda k, _: (k - 1e-3 * gradient(k, X), ()), kernel, (), 2)

    def until(kernel):
        def body(carry):
            return carry[0] + 1, carry[1] - 1e-3 * gradient(carry[1], X)

        return jax.lax.while_loop(lambda c: c[0] < 2, body, (0, kernel))

    function = {
        "jit": lambda k: jax.jit(gradient)(k, X),
        "scan": twice,
        "cond": lambda k: jax.lax.cond(k.sum() > 9, gradient, lambda k, x: k, k, X),
        "checkpoint": lambda k: jax.checkpoint(gradient)(k, X),
        "while": until,
    }[where]
    # A control: without it they are not.
    assert _has_unordered(jax.make_jaxpr(function)(KERNEL).jaxpr)
    assert not _has_unordered(jax.make_jaxpr(ordered(function))(KERNEL).jaxpr)
    for one, other in zip(
        jax.tree.leaves(function(KERNEL)),
        jax.tree.leaves(ordered(function)(KERNEL)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_derivatives_of_the_user_s_own_are_kept():
    @jax.custom_vjp
    def sevenfold(x):
        return x**2

    sevenfold.defvjp(lambda x: (x**2, x), lambda x, g: (7 * g * x,))

    def function(x):
        return jnp.sum(jax.nn.relu(x) * sevenfold(x))

    x = jnp.array([1.0, -2.0, 3.0])
    own = jax.grad(ordered(function))(x)
    np.testing.assert_array_equal(own, jax.grad(function)(x))
    assert own[0] == 8
