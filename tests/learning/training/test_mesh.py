"""Data parallel training on eight virtual devices."""

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest

import lagrangian as lg
from lagrangian.networks.digits import cross_entropy

SCRIPT = """
    import jax, numpy as np
    import jax.numpy as jnp
    from flax import nnx
    from jax.sharding import Mesh
    import lagrangian as lg
    from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy

    generator = np.random.default_rng(0)
    data = generator.normal(size=(64, 8, 8, 1)), np.arange(64) % 10
    with jax.enable_x64(True):
        model = ConvolutionalNetwork(
            nnx.Rngs(0), channels=(3, 4), param_dtype=jnp.float64
        )
    rule = lg.HeavyBall(0.05, 0.9, 1e-3)
    symmetries = [lg.Scale("conv1.kernel", unit_axis=-1), lg.Translation("dense.bias")]
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]

    def trained(**keywords):
        return lg.train(
            model, cross_entropy, data, rule, 40, observe=laws, batch_size=32,
            **keywords,
        )

    assert jax.device_count() == 8
    shared = trained(mesh=Mesh(np.array(jax.devices()), "batch"))
    kernel = shared.model.conv1.kernel[...]
    assert len(kernel.sharding.device_set) == 8, kernel.sharding
    for row in lg.check(shared, laws):
        assert row.discrete < 1e-12 and row.defect < 1e-12, row
    alone = trained()
    np.testing.assert_allclose(shared.losses, alone.losses, rtol=1e-9)
    np.testing.assert_allclose(
        shared[laws[0]].quantity, alone[laws[0]].quantity, rtol=1e-9
    )
    symmetry = lg.Scale("dense.kernel")
    broken = [lg.noether(rule.lagrangian(symmetry.loss), symmetry)]
    run = lg.train(
        model, cross_entropy, data, rule, 10, observe=broken, batch_size=32,
        mesh=Mesh(np.array(jax.devices()), "batch"),
    )
    assert lg.check(run, broken)[0].discrete > 1e-3
    print("held")
"""


def test_the_exact_law_holds_on_the_averaged_gradient(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.stdout.strip() == "held", done.stderr


def test_a_batch_that_cannot_be_shared(network, small_data):
    three: Any = SimpleNamespace(size=3, axis_names=("batch",))
    with pytest.raises(lg.LagrangianError, match="cannot share 16 examples"):
        lg.train(
            network(),
            cross_entropy,
            small_data,
            lg.HeavyBall(0.1),
            3,
            batch_size=16,
            mesh=three,
        )
