"""Where a program will run, and where float64 is computed if it cannot there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows import structure
from lagrangian.flows.solvers import taylor
from lagrangian.lowering import platform as module
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.kernels.trigonometry import sin
from lagrangian.lowering.platform import (
    float64,
    lowered_for,
    on_cpu,
    platform,
    where_float64_is,
)

CPU = jax.local_devices(backend="cpu")[0]


def test_the_platform_is_that_of_the_device_not_of_the_machine(monkeypatch):
    assert platform() == "cpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert platform() == "gpu" and not on_cpu()
    for device in (CPU, "cpu"):
        with jax.default_device(device):
            assert on_cpu()
            with lowered_for("tpu"):
                assert platform() == "tpu"
    assert platform() == "gpu"


def test_a_kernel_of_the_cpu_is_made_for_a_cpu_only():
    """And again when another platform is asked for, not taken from JAX's caches."""

    @jax.jit
    def function(x):
        return fused(lambda x: jax.lax.fori_loop(0, 9, lambda i, x: sin(x) + i, x))(x)

    with jax.enable_x64(True):
        for name, is_marked in (("cpu", True), ("cuda", False), ("cpu", True)):
            with lowered_for(name):
                traced = function.trace(jnp.ones(3))
                text = traced.lower(lowering_platforms=(name,)).as_text()
            assert ("xla_cpu_small_call" in text) is is_marked
            # The polynomials, or XLA's own sine.
            assert ("2.755731362138572" in text) is is_marked


def test_one_path_is_computed_on_the_host_of_a_gpu(monkeypatch):
    """Unless the user chose a device."""
    x = lg.coordinates("x")
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -sp.cos(x)))
    seen, real = [], structure._run

    def run(*arguments):
        seen.append(jax.config.jax_default_device)
        return real(*arguments)

    monkeypatch.setattr(structure, "_run", run)
    # What JAX computes; machine code is the host's anyway.
    monkeypatch.setattr(taylor, "native_steps", lambda *_: None)
    flow.integrate([1.0], [0.0], t=(0, 1))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    flow.integrate([1.0], [0.0], t=(0, 1))
    flow.section([1.0], [0.0], x, t=(0, 9))
    with jax.default_device("cpu"):
        flow.integrate([1.0], [0.0], t=(0, 1))
    assert seen == [None, CPU, CPU, "cpu"]


def test_float64_is_on_the_host_of_a_tpu(monkeypatch):
    with float64():
        assert jax.config.jax_default_device is None
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with where_float64_is():
        assert jax.config.jax_default_device == CPU
        assert jnp.ones(1).dtype == np.float32
    with float64():
        assert jax.config.jax_default_device == CPU and on_cpu()
        assert jnp.ones(1).dtype == np.float64
    assert jax.config.jax_default_device is None


def test_what_the_engine_computes_in_float64_it_computes_there(monkeypatch):
    """A machine with a TPU, as far as one can pretend; the control has no such rule."""
    x = lg.coordinates("x")
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -sp.cos(x)))

    def ways():
        yield flow.integrate([1.0], [0.0], t=(0, 1)).q[-1]
        yield flow.ensemble([[1.0], [2.0]], [[0.0]], t=(0, 1)).q[:, -1]
        weights = {"a": np.ones((3, 2)), "b": np.ones((2, 1))}
        batch = np.random.default_rng(0).normal(size=(16, 3))
        found = lg.discover(weights, lambda p, x: (x @ p["a"] @ p["b"]).mean(), batch)
        yield np.array([row.residual for row in found.rows])

    usual = list(ways())
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    for there, here in zip(ways(), usual, strict=True):
        np.testing.assert_array_equal(there, here)
    with pytest.raises(lg.LagrangianError, match="which a TPU has not.*local_devices"):
        with jax.enable_x64(True):
            flow.flow_map([1.0], [0.0], (0.0, 1.0))
    assert module.platform() == "tpu"
