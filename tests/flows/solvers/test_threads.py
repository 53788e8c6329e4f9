"""Members in the threads of an accelerator, here by Pallas' interpreter."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.flows.ensembles import ensemble
from lagrangian.flows.solvers import threads
from lagrangian.flows.solvers.dopri8_lanes import Bounds
from lagrangian.lowering.platform import float64, lowered_for
from lagrangian.systems.mechanics import SYSTEMS, make_system

TIMES = (0.0, 0.7, 2.0)


def named(name: str, **sizes: int) -> Any:
    system = make_system(name, sizes)
    return lg.lower(system.lagrangian, system.parameters)


def switched() -> Any:
    """Dry friction and a force that is switched on, with a parameter."""
    x = lg.coordinates("x")
    k, rub = sp.symbols("k rub", positive=True)
    pushed = sp.Heaviside(lg.time - sp.Rational(1, 2))
    system = lg.Lagrangian(
        x.dot**2 / 2, k * x**2 / 2 - pushed * x, dissipation=rub * sp.Abs(x.dot)
    )
    return lg.lower(system, {k: 1.3, rub: 0.05})


FLOWS = {
    "double pendulum": lambda: named("double-pendulum"),
    "guarded by a power": lambda: named("van-der-pol"),
    "a parameter's sine": lambda: named("foucault-pendulum"),
    "forces that jump": switched,
}


def both(flow: Any, members: int, monkeypatch: Any, **options: Any) -> Any:
    """In lanes of a CPU, and in fewer threads than there are members."""
    n = len(flow.lagrangian.coordinates)
    random = np.random.default_rng(1)
    given = random.uniform(-1, 1, (members, n)), random.uniform(-1, 1, (members, n))
    options = {"progress": False, **options}
    expected = flow.ensemble(*given, TIMES, **options)
    monkeypatch.setattr(threads, "THREADS", 32)
    called: list[int] = []

    def watched(*arguments: Any, **more: Any) -> Any:
        called.append(members)
        return threads.integrate_threads(*arguments, **more)

    monkeypatch.setattr(ensemble, "integrate_threads", watched)
    with lowered_for("cuda"):
        found = flow.ensemble(*given, TIMES, **options)
    assert called
    return expected, found


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_threads_take_the_steps_of_lanes(flow: Any, monkeypatch: Any):
    expected, found = both(flow(), 70, monkeypatch, tol=1e-9)
    # At a jump the last rounding decides which of the shortest steps crosses it.
    allowed = 1e-8 if flow is switched else 1e-10
    np.testing.assert_allclose(found.q, expected.q, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(found.v, expected.v, rtol=allowed, atol=allowed)
    assert found.failures == expected.failures
    # One rounding may reject a step, and at a jump all of those that look for it.
    share = 0.2 if flow is switched else 0.0
    assert (np.abs(found.steps - expected.steps) <= 2 + share * expected.steps).all()
    assert found.q.flags.writeable
    assert found.q.flags.c_contiguous


@pytest.mark.slow
def test_coupled_masses_are_eliminated_without_a_loop(monkeypatch: Any):
    expected, found = both(named("n-pendulum", links=5), 40, monkeypatch, tol=1e-9)
    np.testing.assert_allclose(found.q, expected.q, rtol=1e-8, atol=1e-8)


def test_too_few_steps_are_told(monkeypatch: Any):
    expected, found = both(named("double-pendulum"), 40, monkeypatch, max_steps=12)
    assert expected.failures
    assert found.failures == expected.failures
    np.testing.assert_array_equal(np.isnan(found.q), np.isnan(expected.q))


def test_a_broken_balance_is_found_where_the_states_are(monkeypatch: Any):
    """The guard's sums are made on the device; a law that does not hold is refused."""
    flow = named("henon-heiles")  # compiled by no other test
    guard = flow.guard()

    def off_by(path: Any, *more: Any, **options: Any) -> Any:
        found = type(guard).missed(guard, path, *more, **options)
        return [(name, missed + 1.0, allowed) for name, missed, allowed in found]

    monkeypatch.setattr(guard, "missed", off_by)
    _, found = both(flow, 33, monkeypatch)
    assert set(found.status) == {ensemble.BROKEN}
    assert np.isnan(found.q).all()


def test_constraints_stay_in_lanes(monkeypatch: Any):
    x, y = lg.coordinates("x y")
    rod = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y, constraints=[x**2 + y**2 - 1])
    flow = lg.lower(rod)

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(ensemble, "integrate_threads", refused)
    given = np.array([[0.6, -0.8]]), np.zeros((1, 2)), TIMES
    with lowered_for("cuda"):
        found = flow.ensemble(*given, progress=False)
    expected = flow.ensemble(*given, progress=False)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-9)


def test_a_function_without_a_form_there_stays_in_lanes():
    x = lg.coordinates("x")
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.erf(x) ** 2))
    given = np.linspace(-1, 1, 40)[:, None], np.zeros((40, 1)), TIMES
    expected = flow.ensemble(*given, progress=False)
    with lowered_for("cuda"):
        found = flow.ensemble(*given, progress=False)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-9)


@pytest.mark.skipif(
    jax.__version_info__ >= (0, 11),
    reason="from JAX 0.11 on, Pallas lowers for a GPU that is there only",
)
@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_the_kernel_is_lowered_for_a_gpu(name: str, monkeypatch: Any):
    """By Triton, of which only a GPU's compiler sees the rest."""
    flow = named(name)
    rates, n = flow.guard().rates, len(flow.lagrangian.coordinates)
    real = threads.integrate_threads

    def compiled(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **{**options, "interpret": False})

    monkeypatch.setattr(ensemble, "integrate_threads", compiled)
    target = "__gpu$xla.gpu.triton"
    with float64(), lowered_for("cuda"):
        bounds = Bounds(1e-6, np.zeros((n, 1)), np.inf)
        y = jax.ShapeDtypeStruct((2 * n + len(rates), 64), jnp.float64)

        def program(flow: Any, y: Any) -> Any:
            given = y, 60, jnp.array(TIMES), bounds
            return ensemble._from_start(flow, 64, 64, 1000, tuple(rates))(*given)

        exported = jax.export.export(
            jax.jit(program),
            platforms=["cuda"],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
        )(flow, y)
    assert target in exported.mlir_module()
