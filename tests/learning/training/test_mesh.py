"""Data parallel training on eight virtual devices."""

import os
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import numpy as np
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
    again = trained(mesh=jax.make_mesh((4, 2), ("outer", "inner")))
    np.testing.assert_array_equal(shared.losses, again.losses)
    for law in laws:
        np.testing.assert_array_equal(shared[law].quantity, again[law].quantity)
    print("held")
"""

#: What two processes compute together, and one alone, of as many devices.
TOGETHER = """
    import sys
    import jax
    port, rank, folder = sys.argv[1:]
    if port != "0":
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(rank))
    import numpy as np
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
    symmetry = lg.Scale("conv1.kernel", unit_axis=-1)
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    mesh = Mesh(np.array(jax.devices()), "batch")
    assert mesh.size == 4 and jax.process_count() == (1 if port == "0" else 2)

    def trained(steps, **keywords):
        return lg.train(
            model, cross_entropy, data, rule, steps, observe=[law], batch_size=32,
            mesh=mesh, **keywords,
        )

    run = trained(40)
    # Each process keeps a folder of its own, and goes on from it bit for bit.
    trained(20, checkpoint=f"{folder}/{port}-{rank}")
    resumed = trained(40, checkpoint=f"{folder}/{port}-{rank}")
    np.testing.assert_array_equal(run.losses, resumed.losses)
    assert lg.check(run, [law])[0].discrete < 1e-12
    np.savez(f"{folder}/{port}-{rank}.npz", losses=run.losses, x=run[law].quantity)
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


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Over the loopback: the same bits in both, and those of one up to its sums."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(TOGETHER))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])

    def started(port: str, rank: int, devices: int) -> Any:
        flags = f"--xla_force_host_platform_device_count={devices}"
        return subprocess.Popen(
            [sys.executable, str(script), port, str(rank), str(tmp_path)],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stderr=subprocess.PIPE,
            text=True,
        )

    for processes in (
        [started("0", 0, 4)],
        [started(port, rank, 2) for rank in (0, 1)],
    ):
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors[-2000:]
    alone, *both = (
        np.load(tmp_path / f"{name}.npz") for name in ("0-0", f"{port}-0", f"{port}-1")
    )
    for name in ("losses", "x"):
        np.testing.assert_array_equal(both[0][name], both[1][name])
        np.testing.assert_allclose(both[0][name], alone[name], rtol=1e-12)


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
