"""Facts about dependencies that the package relies on, or has to work around.

When one of these fails after an update, the place that relied on it has to change.
"""

import pickle
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from flax import nnx
from packaging.requirements import Requirement

import lagrangian as lg

ROOT = Path(__file__).parent.parent
CONSTRAINTS = sorted((ROOT / "constraints").glob("py*.txt"))


# ------------------------------------------------------------------ JAX


@pytest.mark.parametrize(("dtype", "rows"), [("float64", 16_385), ("float32", 32_769)])
def test_jax_squares_and_sums_right_over_a_large_batch(dtype, rows):
    """jax 0.10.2 gets this kernel wrong on the CPU above these sizes.

    It is the kernel of every kinetic energy over an ensemble; jax-ml/jax#39103.
    """
    points = np.zeros((rows, 3), dtype)
    points[:, 0] = np.arange(rows)
    matrix = np.eye(3, dtype=dtype)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        energies = jax.jit(jax.vmap(lambda row: ((matrix @ row) ** 2).sum()))(points)
    assert energies.dtype == dtype
    np.testing.assert_allclose(energies, (points**2).sum(axis=1), rtol=1e-6)


def test_the_jax_that_computes_wrong_numbers_is_neither_installed_nor_allowed():
    """The canary above may pass by luck on another CPU, so the version counts too."""
    assert version("jax") != "0.10.2"
    assert version("jaxlib") != "0.10.2"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {r.name: r for r in map(Requirement, project["dependencies"])}
    allowed = required["jax"].specifier
    assert "0.10.1" in allowed
    assert "0.10.2" not in allowed
    assert "0.11.2" in allowed


def test_xla_cannot_compile_a_kernel_that_does_not_read_an_argument():
    """It ends the process, in JAX 0.10 to 0.12, which differ in what they simplify.

    For that `lowering/kernels/fused.py` reads each once more, which can go when this
    fails with every version that is allowed.
    """
    code = """
import jax, jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

@jax.jit
def outer(x, y):
    with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
        return jax.jit(lambda x, y: jnp.sin(jnp.concatenate([x, y])[:3]))(x, y)

with jax.default_device(jax.devices("cpu")[0]):
    print(outer(jnp.ones(3), jnp.ones(3)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "slices should have an explicit index" in done.stderr


def test_x64_is_a_context_that_leaves_the_setting_of_the_process_alone():
    """Theory runs in float64 without taking float32 away from the user's training."""
    before = jnp.ones(1).dtype
    with jax.enable_x64(True):
        assert jnp.ones(1).dtype == jnp.float64
    assert jnp.ones(1).dtype == before
    assert not jax.config.jax_enable_x64


def test_nnx_layers_stay_in_float32_under_x64():
    """So `param_dtype` has to be given for a run in float64, and mixing is easy."""
    with jax.enable_x64(True):
        plain = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        double = nnx.Linear(2, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        assert plain.kernel.dtype == jnp.float32
        assert double.kernel.dtype == jnp.float64


def test_optax_yields_the_momentum_from_inside_a_chain():
    """Charges read the velocity of the parameters from here."""
    rule = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1, momentum=0.9))
    parameters = {"w": jnp.array([2.0, 4.0])}
    state = rule.init(parameters)
    _, state = rule.update({"w": jnp.ones(2)}, state, parameters)
    trace = optax.tree.get(state, "trace")
    np.testing.assert_allclose(trace["w"], [2.0, 3.0])


# ------------------------------------------------------------------ importing


def test_deriving_loads_neither_jax_nor_scipy():
    """Deriving must start in the time that SymPy takes: JAX adds two seconds."""
    code = """
import sys
import lagrangian as lg
q = lg.coordinates("q")
lg.noether(lg.Lagrangian(q.dot**2 / 2, q**2), lg.TimeTranslation())
lg.noether(lg.Lagrangian(q.dot**2 / 2), lg.Translation(q)).terms()
print([m for m in ("jax", "flax", "optax", "diffrax", "scipy") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------ SymPy


def test_symbols_of_one_name_differ_by_order_and_class():
    """SymPy compares symbols by name and assumptions unless it is told of the rest."""
    q, w = lg.coordinates("q"), lg.blocks("q")
    different = [q, q.dot, q.ddot, w, w.dot, sp.Symbol("q", real=True)]
    assert len(set(different)) == len(different)
    assert lg.blocks("q", unit_axis=0) != w
    assert (q + w).diff(q) == 1


@pytest.mark.parametrize(
    "symbol",
    [
        lg.coordinates("q"),
        lg.coordinates("q").ddot,
        lg.coordinates("q", positive=True).dot,
        lg.blocks("w"),
        lg.blocks("w", unit_axis=-1).dot,
        lg.ConstantBlock("d"),
    ],
    ids=str,
)
def test_symbols_survive_pickle(symbol):
    """SymPy's own `__reduce__` knows nothing of what a subclass adds."""
    again = pickle.loads(pickle.dumps(symbol))
    assert again == symbol
    assert type(again) is type(symbol)
    if isinstance(symbol, type(lg.coordinates("q"))):
        assert again.order == symbol.order
        assert again.dot == symbol.dot
        assert again.base == symbol.base


def test_sympy_cannot_differentiate_an_opaque_function_of_a_matrix():
    """The gradient of a loss comes out as zero: this is why blocks are our own."""
    n = sp.Symbol("n", integer=True, positive=True)
    weights = sp.MatrixSymbol("w", n, 1)
    assert sp.Function("f")(weights).diff(weights) == sp.ZeroMatrix(n, 1)


# ------------------------------------------------------------------ constraints


@pytest.mark.parametrize("file", CONSTRAINTS, ids=lambda file: file.stem)
def test_constraints_pin_what_the_tests_passed_with(file):
    """A fresh installation must not depend on what was released this morning."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    pinned = {}
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!+]+", line), line
        name, _, pinned_version = line.partition("==")
        pinned[name.lower()] = pinned_version
    assert {"jax", "flax", "sympy", "optax", "diffrax", "numpy"} <= set(pinned)
    assert "lagrangian" not in pinned
    release = tuple(int(part) for part in pinned["jax"].split(".")[:3])
    assert release != (0, 10, 2)
    if file.stem == "py311":
        assert release[:2] == (0, 10)  # the last line that runs on Python 3.11
    else:
        assert release[:2] >= (0, 11)


def test_every_tested_python_has_constraints():
    """The set-up script looks for these names."""
    assert [file.stem for file in CONSTRAINTS] == ["py311", "py312", "py313"]
