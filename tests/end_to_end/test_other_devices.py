"""What is lowered for a GPU and a TPU, on a machine that has neither.

JAX lowers a program for any platform. The module says what its compiler will meet:
libraries that are called, calls back into Python, and number formats.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import diffrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from flax import nnx

import lagrangian as lg
from lagrangian.flows import structure
from lagrangian.flows.solvers import solver, taylor
from lagrangian.lowering.platform import lowered_for
from lagrangian.networks.digits import ConvolutionalNetwork, cross_entropy
from lagrangian.systems.mechanics import SYSTEMS

#: Of the libraries that JAX calls, those that a platform has.
LIBRARIES = {
    "cuda": {
        "cusolver_getrf_ffi",
        "cusolver_geqrf_ffi",
        "cusolver_orgqr_ffi",
        "cu_lu_pivots_to_permutation",
    },
    "tpu": {"LuDecomposition"},
}


class Program(NamedTuple):
    """A function that is compiled, and arguments to lower it for."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    double: bool = True

    def module(self, platform: str) -> str:
        """What the compiler of a platform is given."""
        with jax.enable_x64(self.double), lowered_for(platform):
            traced = jax.jit(self.function).trace(*self.arguments)
            return traced.lower(lowering_platforms=(platform,)).as_text()


def foreign(module: str, platform: str, double: bool = True) -> set[str]:
    """What may not be in a module for a platform."""
    found = set(re.findall(r"custom_call @([\w$.]+)", module)) - LIBRARIES[platform]
    if "xla_cpu" in module:
        found.add("a mark for the CPU")
    if not double and re.search(r"\bf64\b|xf64>", module):
        found.add("float64")
    return found


# ------------------------------------------------------------------------- mechanics


class _Captured(BaseException):
    """Ends a call whose first compiled program is all that is asked."""


def first_of(call: Callable[[], Any]) -> Program:
    """The first program that a call would run, by `structure.run` or by diffrax."""
    caught: list[Program] = []

    def stop(function: Callable[..., Any], *arguments: Any) -> Any:
        caught.append(Program(function, arguments))
        raise _Captured

    def run(build: Any, settings: Any, flow: Any, given: Any) -> Any:
        stop(lambda flow, given: build(flow, *settings)(*given), flow, given)

    def solve(motion: Any, rates: Any, *given: Any) -> Any:
        state, fixed = given[:-4], given[-4:]
        stop(lambda *state: by_diffrax(motion, rates, *state, *fixed), *state)

    by_diffrax = solver._solve
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_run", run)
        # What JAX does where a path is not machine code of LLVM's.
        patch.setattr(taylor, "native_steps", lambda *_: None)
        patch.setattr(solver, "_solve", solve)
        with pytest.raises(_Captured):
            call()
    return caught[0]


def named(name: str) -> lg.Flow:
    system = SYSTEMS[name]()
    return lg.lower(system.lagrangian, system.parameters)


def chain(n: int) -> lg.Flow:
    """A planar chain of n equal links."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(n)))
    kinetic = sum(
        (n - max(i, j)) / 2 * q[i].dot * q[j].dot * sp.cos(q[i] - q[j])
        for i in range(n)
        for j in range(n)
    )
    return lg.lower(
        lg.Lagrangian(kinetic, sum(-(n - i) * sp.cos(q[i]) for i in range(n)))
    )


def rod() -> lg.Flow:
    x, y = lg.coordinates("x y")
    rod = [x**2 + y**2 - 1]
    return lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y, constraints=rod))


def kinked() -> lg.Flow:
    x = lg.coordinates("x")
    return lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.Abs(x) ** 3))


PENDULUM, ROD = named("double-pendulum"), rod()
TWO, STILL, SPAN = np.array([2.0, 1.0]), np.zeros(2), (0.0, 1.0)
HANGING = np.array([0.6, -0.8])


def one(flow: lg.Flow, **options: Any) -> Program:
    n = len(flow.lagrangian.coordinates)
    q0 = HANGING if flow is ROD else np.linspace(2.0, 1.0, n)
    return first_of(lambda: flow.integrate(q0, np.zeros(n), SPAN, points=3, **options))


def many(flow: lg.Flow) -> Program:
    n = len(flow.lagrangian.coordinates)
    q0 = HANGING[None] if flow is ROD else np.linspace(0.5, 1.0, 70 * n).reshape(70, n)
    return first_of(lambda: flow.ensemble(q0, 0 * q0, SPAN, progress=False))


def users_diffrax() -> Program:
    """The field of a flow in a user's own call of diffrax."""

    def path(q: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(PENDULUM.field),
            diffrax.Dopri8(),
            *(0.0, 1.0, 0.01, (q, jnp.zeros(2))),
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
            throw=False,
        ).ys

    return Program(path, (TWO,))


def slope_of_flow_map() -> Program:
    def arrived(q: Any) -> Any:
        return PENDULUM.flow_map(q, STILL, SPAN)[0].sum()

    return Program(jax.grad(arrived), (TWO,))


def of_blocks() -> Program:
    w = lg.blocks("w")
    f = lg.Loss("f", w)
    kinetic = lg.Inner(w.dot, w.dot) / 2
    flow = lg.lower(lg.Lagrangian(kinetic, f), losses={"f": lambda w: (w**4).sum()})
    return first_of(lambda: flow.integrate({w: TWO}, {w: 0 * TWO}, SPAN))


def of_a_field() -> Program:
    phi = lg.fields("phi", over="t x")
    wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    flow = lg.lower(wave, interval=(0.0, 1.0), points=16)
    return first_of(lambda: flow.integrate({phi: 1.0}, {phi: 0.0}, SPAN))


MECHANICS = {
    "accelerations": lambda: Program(PENDULUM.acceleration, (TWO, STILL)),
    "accelerations of nine": lambda: Program(chain(9).acceleration, (np.ones(9),) * 2),
    "accelerations under constraints": lambda: Program(
        ROD.acceleration, (HANGING, STILL)
    ),
    "energy": lambda: Program(PENDULUM.energy, (TWO, STILL)),
    "taylor": lambda: one(PENDULUM),
    "taylor of nine": lambda: one(chain(9)),
    "taylor under constraints": lambda: one(ROD),
    "dormand-prince": lambda: one(kinked()),
    "diffrax": lambda: one(PENDULUM, solver=diffrax.Tsit5()),
    "a user's diffrax": users_diffrax,
    "blocks": of_blocks,
    "a field": of_a_field,
    "symplectic": lambda: one(named("kepler"), solver=lg.Symplectic(0.01, order=6)),
    "variational": lambda: one(PENDULUM, solver=lg.Variational(0.01)),
    "variational of nine": lambda: one(chain(9), solver=lg.Variational(0.01)),
    "rattle": lambda: one(ROD, solver=lg.Rattle(0.01)),
    "ensemble": lambda: many(PENDULUM),
    "ensemble of nine": lambda: many(chain(9)),
    "ensemble under constraints": lambda: many(ROD),
    "flow map": lambda: Program(lambda q: PENDULUM.flow_map(q, STILL, SPAN), (TWO,)),
    "slope of the flow map": slope_of_flow_map,
    "section": lambda: first_of(
        lambda: PENDULUM.section(TWO, STILL, PENDULUM.lagrangian.coordinates[0], SPAN)
    ),
    "projection": lambda: one(ROD, project=True),
    "lyapunov": lambda: first_of(
        lambda: PENDULUM.lyapunov_exponents(TWO, STILL, (0, 3))
    ),
}


@pytest.fixture
def unchecked():
    """Without diffrax's checks, which call back into Python: as `lg.cache` has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equinox._errors, "EQX_ON_ERROR", "nan")
        jax.clear_caches()  # which do not know of it
        yield
        jax.clear_caches()


@pytest.mark.parametrize("name", MECHANICS)
def test_mechanics_on_a_gpu(name, unchecked):
    with lowered_for("cuda"):
        program = MECHANICS[name]()
    module = program.module("cuda")
    assert not foreign(module, "cuda")
    assert len(module) < 2**20  # as a step without loops of nine coordinates has not


def test_lanes_are_refilled_on_a_gpu():
    """All at once there, and one after the other in a kernel of a CPU."""
    for kind, at_once in (("cuda", True), ("cpu", False)):
        with lowered_for(kind):
            program = MECHANICS["ensemble under constraints"]()
        assert ("@cumsum" in program.module(kind)) is at_once


def test_what_may_not_be_in_a_module_is_found():
    """The controls: a library, a kernel, and a number format of the CPU alone."""
    lapack = Program(jnp.linalg.eigvals, (np.eye(3),)).module("cpu")
    assert "lapack_dgeev_ffi" in foreign(lapack, "cuda")
    assert foreign(MECHANICS["taylor"]().module("cpu"), "cuda") == {
        "a mark for the CPU"
    }
    module = MECHANICS["energy"]().module("tpu")
    assert foreign(module, "tpu", double=False) == {"float64"}


def test_diffrax_checks_its_times_in_python():
    """So a GPU waits for the host, unless Equinox's checks give nan."""
    jax.clear_caches()
    for name in ("diffrax", "blocks"):
        with pytest.raises(ValueError, match="backend cpu is different"):
            MECHANICS[name]().module("cuda")


#: What is lost in float32, as a share of the largest number: a few roundings.
SINGLE = 1e-5


@pytest.mark.parametrize(
    "name",
    ["accelerations", "accelerations of nine", "accelerations under constraints"]
    + ["energy", "a user's diffrax"],
)
def test_right_hand_sides_on_a_tpu_are_in_float32(name):
    program = MECHANICS[name]()
    with jax.enable_x64(True):
        exact = jax.tree.leaves(jax.jit(program.function)(*program.arguments))
    short = Program(
        program.function, jax.tree.map(np.float32, program.arguments), double=False
    )
    assert not foreign(short.module("tpu"), "tpu", double=False)
    found = jax.tree.leaves(jax.jit(short.function)(*short.arguments))
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=SINGLE * np.abs(b).max())


@pytest.mark.parametrize("name", ["flow map", "slope of the flow map"])
def test_solvers_say_that_a_tpu_has_no_float64(name):
    with pytest.raises(lg.LagrangianError, match="which a TPU has not"):
        MECHANICS[name]().module("tpu")


# -------------------------------------------------------------------------- learning


def jitted(call: Callable[[], Any], room: str) -> Program:
    """The first program that a call would run of those that a module has compiled."""
    real, caught = jax.jit, []

    def jit(function: Any = None, **options: Any) -> Any:
        if getattr(function, "__module__", "") != f"lagrangian.learning.{room}":
            return real(function, **options) if function else partial(jit, **options)

        def stop(*arguments: Any) -> Any:
            double = jax.config.jax_enable_x64
            caught.append(Program(function, arguments, double))
            raise _Captured

        return stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", jit)
        with pytest.raises(_Captured):
            call()
    return caught[0]


RULE = lg.HeavyBall(0.05, 0.9, 1e-3)
IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype(np.float32)
DATA = IMAGES, np.arange(32, dtype=np.int32) % 10
SYMMETRIES = (
    lg.Scale("conv1.kernel", unit_axis=-1),
    lg.Translation("dense.kernel", unit_axis=0),
    lg.Translation("dense.bias"),
)


def network() -> ConvolutionalNetwork:
    return ConvolutionalNetwork(nnx.Rngs(0), channels=(3, 4))


def training(rule: Any = RULE, **options: Any) -> Program:
    def train() -> Any:
        model = network()
        return lg.train(model, cross_entropy, DATA, rule, 10, batch_size=8, **options)

    return jitted(train, "training.loop")


def own_loop() -> Program:
    """A user's own step, with an observed optimiser."""
    tx = lg.observed(optax.adamw(1e-3), [lg.Scale("w", unit_axis=-1)], capacity=5)
    start = {"w": jnp.ones((5, 4)), "v": jnp.ones((4, 3))}

    def step(q: Any, state: Any, batch: Any) -> Any:
        def loss(q: Any) -> Any:
            return (
                (batch @ (q["w"] / jnp.linalg.norm(q["w"], axis=0)) @ q["v"]) ** 2
            ).mean()

        value, gradient = jax.value_and_grad(loss)(q)
        updates, state = tx.update(gradient, state, q, value=value)
        return optax.apply_updates(q, updates), state

    return Program(step, (start, tx.init(start), jnp.ones((8, 5))), False)


def noise() -> Program:
    return jitted(
        lambda: lg.gradient_noise(network(), cross_entropy, DATA, SYMMETRIES[0]),
        "gradient_noise",
    )


def orbit() -> Program:
    return jitted(lambda: lg.Orbit(SYMMETRIES[0], network())(0.5), "orbit")


def discovery(room: str) -> Program:
    return jitted(lambda: lg.discover(network(), cross_entropy, DATA), room)


def own_flow(order: str) -> Program:
    flow = lg.network_flow(network(), cross_entropy, DATA, RULE, order=order)
    return first_of(lambda: flow.integrate((0.0, 0.1)))


TRAINING = {
    "training": training,
    "training with laws": lambda: training(observe=SYMMETRIES),
    "training by optax": lambda: training(optax.adamw(1e-3), observe=SYMMETRIES),
    "training in a loop of one's own": own_loop,
    "gradient noise": noise,
}
LEARNING = {
    "gradients of discover": lambda: discovery("discover.probe"),
    "orbit": orbit,
    "network flow, second": lambda: own_flow("second"),
    "network flow, modified": lambda: own_flow(1),
}


@pytest.mark.parametrize("platform", LIBRARIES)
@pytest.mark.parametrize("name", TRAINING)
def test_training_is_in_its_own_precision_everywhere(name, platform):
    program = TRAINING[name]()
    assert not program.double
    assert not foreign(program.module(platform), platform, double=False)


@pytest.mark.parametrize("name", LEARNING)
def test_learning_in_float64_is_a_gpu_s_own(name, unchecked):
    program = LEARNING[name]()
    assert program.double
    assert not foreign(program.module("cuda"), "cuda")
