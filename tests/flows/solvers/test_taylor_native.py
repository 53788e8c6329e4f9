"""Paths by machine code against those by JAX, and what is left to JAX."""

import threading

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import IntegrationFailed
from lagrangian.flows.solvers import taylor, taylor_native
from lagrangian.flows.solvers.taylor_native import native_steps
from lagrangian.lowering.native import compiled, recursion
from lagrangian.systems.mechanics import SYSTEMS

x, y = lg.coordinates("x y")
k = sp.Symbol("k", positive=True)
OSCILLATOR = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2))


def by_jax(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(taylor, "native_steps", lambda *_: None)
        return call()


def is_native(flow, tol=1e-9):
    return native_steps(flow, taylor.order_for(tol), flow.guard().rates) is not None


def agree(monkeypatch, flow, q0, v0, t, rtol=1e-10, **options):
    assert is_native(flow, options.get("tol", 1e-9))
    call = lambda: flow.integrate(q0, v0, t, **options)
    found, expected = call(), by_jax(monkeypatch, call)
    np.testing.assert_array_equal(found.t, expected.t)
    scale = np.abs(expected.q).max(initial=1e-300)
    np.testing.assert_allclose(found.q, expected.q, rtol=rtol, atol=rtol * scale)
    scale = np.abs(expected.v).max(initial=1e-300)
    np.testing.assert_allclose(found.v, expected.v, rtol=rtol, atol=rtol * scale)
    assert abs(found.steps - expected.steps) <= 1 + expected.steps // 20
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_ready_made_systems(name, monkeypatch):
    system = SYSTEMS[name]()
    flow = lg.lower(system.lagrangian, system.parameters)
    start = list(system.positions.values()), list(system.velocities.values())
    if system.lagrangian.constraints.expressions or not isinstance(
        flow.default_solver(), lg.Taylor
    ):
        assert not is_native(flow)
    else:
        agree(monkeypatch, flow, *start, (0, 1), points=7)


SPECIAL = {
    "at rest": (-sp.cos(x) - sp.cos(y), [0.0, 0.0], [0.0, 0.0]),
    "balanced": (sp.cos(x) + y**2, [0.0, 0.3], [0.0, 0.0]),
    "symmetric": (x**2 * y**2 + x**4 + y**4, [0.5, -0.5], [0.1, -0.1]),
    "a power through zero": (x**4 + y**6, [1.0, 0.0], [0.0, 0.5]),
    "tiny": (x**2 / 2 + y**2, [1e-150, 0.0], [0.0, 1e-160]),
    "huge": (x**2 / 2 + y**2, [1e150, 1.0], [0.0, 1e140]),
    "free": (sp.S.Zero, [1.0, 2.0], [0.5, 0.0]),
    "flat": (sp.exp(-(x**2)) + sp.tanh(10 * y), [-3.0, 0.1], [2.0, 0.0]),
    "rational": (1 / (1 + x**2 + y**2) + sp.atan(x), [0.3, 0.4], [0.0, 1.0]),
    "driven": (x**2 * sp.cos(lg.time) / 2 - y * lg.time, [1.0, 0.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_states(name, monkeypatch):
    potential, q0, v0 = SPECIAL[name]
    flow = lg.lower(lg.Lagrangian((x.dot**2 + y.dot**2) / 2, potential))
    path = agree(monkeypatch, flow, q0, v0, (0, 3), points=4)
    if name in ("at rest", "balanced"):
        np.testing.assert_array_equal(path[x], np.zeros(4))
    if name == "symmetric":
        np.testing.assert_array_equal(path[x], -path[y])


def test_a_wrong_answer_would_be_seen(monkeypatch):
    other = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + sp.Float("1e-8") * x**4))
    found = OSCILLATOR.integrate([1.0], [0.0], (0, 1))
    expected = by_jax(monkeypatch, lambda: other.integrate([1.0], [0.0], (0, 1)))
    assert np.abs(found.q - expected.q).max() > 1e-10


def test_other_parameters_compile_nothing(monkeypatch):
    potential = k * x**2 / 2 + sp.exp(-k) * x**4 + sp.sqrt(k) * sp.cos(x)
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, potential), {k: 1.0})
    agree(monkeypatch, flow, [1.0], [0.0], (0, 5))
    known = taylor_native._kept_steps.cache_info().misses
    for value in (4.0, 0.01, 1e3):
        agree(monkeypatch, flow.with_parameters({k: value}), [1.0], [0.0], (0, 5))
    flow.integrate([1.0], [0.0], (0, 5), points=11)
    assert taylor_native._kept_steps.cache_info().misses == known


def test_integrals_for_the_guard(monkeypatch):
    """Friction changes the energy: the guard compares with its integral."""
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2, dissipation=x.dot**2 / 20))
    assert flow.guard().rates
    agree(monkeypatch, flow, [1.0], [0.0], (0, 20))
    law = lg.noether(flow.lagrangian, lg.TimeTranslation())
    agree(monkeypatch, flow, [1.0], [0.0], (0, 20), laws=[law])


@pytest.mark.parametrize(
    ("potential", "start", "options"),
    [
        (-1 / x, [1.0], {}),  # falls into the centre
        (-(x**4), [1.0], {}),  # infinite after a finite time
        (x**2 / 2, [1.0], {"max_steps": 5}),
    ],
    ids=["singular", "escaping", "too many steps"],
)
def test_paths_end_where_they_do_by_jax(potential, start, options, monkeypatch):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, potential))
    assert is_native(flow)

    def stopped():
        with pytest.raises(IntegrationFailed) as caught:
            flow.integrate(start, [0.0], (0, 50), **options)
        return caught.value

    found, expected = stopped(), by_jax(monkeypatch, stopped)
    assert len(found.trajectory.t) == len(expected.trajectory.t)
    ends = (str(error).rpartition(": ")[2] for error in (found, expected))
    assert len(set(ends)) == 1


def test_a_broken_balance_is_found(monkeypatch):
    """The guard looks at these paths, too: a wrong program is refused."""
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + x**8))
    steps = native_steps(flow, taylor.order_for(1e-9), flow.guard().rates)
    monkeypatch.setattr(steps, "_compiled", Wrong(steps._compiled))
    with pytest.raises(IntegrationFailed, match="balance of the energy"):
        flow.integrate([1.0], [0.0], (0, 4))


class Wrong:
    """Machine code whose last row is off by a little."""

    def __init__(self, right):
        self.right = right

    def __call__(self, rows, *others):
        self.right(rows, *others)
        rows[-1] *= 1 + 1e-5


def test_over_a_kink_it_goes_on(monkeypatch):
    """A force |v|^(3/2) has no series at rest, where another method leads over it."""
    root = (x.dot**2 + y.dot**2) ** sp.Rational(1, 4)
    drag = {x: -root * x.dot, y: -root * y.dot}
    kinetic, potential = (x.dot**2 + y.dot**2) / 2, (x**2 + y**2) / 2
    flow = lg.lower(lg.Lagrangian(kinetic, potential, forces=drag))
    agree(monkeypatch, flow, [1.0, 0.5], [0.0, 0.0], (0, 3), rtol=1e-6)


def test_long_paths_are_computed_in_segments_without_a_seam(monkeypatch):
    whole = OSCILLATOR.integrate([1.0], [0.0], (0, 50), tol=1e-12)
    monkeypatch.setattr(taylor, "_SEGMENT", 7)
    pieces = OSCILLATOR.integrate([1.0], [0.0], (0, 50), tol=1e-12)
    np.testing.assert_array_equal(whole.q, pieces.q)
    assert whole.steps == pieces.steps > 21


def test_limits_are_kept(monkeypatch):
    path = OSCILLATOR.integrate([1.0], [0.0], (0, 5), max_step=0.01)
    assert path.steps >= 500
    whole = OSCILLATOR.integrate([1.0], [0.0], (0, 50), max_step=1)
    assert whole.steps >= 50
    np.testing.assert_allclose(whole[x], np.cos(whole.t), atol=1e-7)
    agree(monkeypatch, OSCILLATOR, [1.0], [0.0], (0, 5), atol=1e-6, rtol=1e-5)


def test_threads_share_what_was_compiled():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + x**4))
    expected = flow.integrate([1.0], [0.0], (0, 100)).q
    found = [None] * 4

    def work(i):
        found[i] = flow.integrate([1.0], [0.0], (0, 100)).q

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for q in found:
        np.testing.assert_array_equal(q, expected)


def test_what_has_no_machine_code_is_left_to_jax():
    inverse = lg.lower(lg.Lagrangian(x.dot**2 / 2, sp.erfinv(x) ** 2))
    assert isinstance(inverse.default_solver(), lg.Taylor)
    assert not is_native(inverse)
    assert inverse.integrate([0.3], [0.0], (0, 1)).energy_drift < 1e-7
    indefinite = lg.lower(lg.Lagrangian(x.dot * y.dot, x * y))
    assert not is_native(indefinite)
    z = lg.coordinates("z")
    vanishing = (x.dot**2 + y.dot**2 + z.dot**2) / 2 + x.dot * y.dot + y.dot * z.dot
    pivots = lg.lower(lg.Lagrangian(vanishing, (x**2 + y**2 + z**2) / 2))
    assert not is_native(pivots)
    rod = lg.lower(
        lg.Lagrangian((x.dot**2 + y.dot**2) / 2, y, constraints=[x**2 + y**2 - 1])
    )
    assert not is_native(rod)


def test_without_llvm_jax_does_it(monkeypatch):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2 + x**6))
    expected = flow.integrate([1.0], [0.0], (0, 3))
    taylor_native._kept_steps.cache_clear()
    compiled._llvm.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "llvmlite.binding", None)
    assert not is_native(flow)
    found = flow.integrate([1.0], [0.0], (0, 3))
    np.testing.assert_allclose(found.q, expected.q, atol=1e-9)
    taylor_native._kept_steps.cache_clear()
    compiled._llvm.cache_clear()


def test_many_nodes_are_a_loop_over_the_orders(monkeypatch):
    q = lg.coordinates("a b c")
    kinetic = sum(
        (3 - max(i, j)) / sp.Integer(2) * q[i].dot * q[j].dot * sp.cos(q[i] - q[j])
        for i in range(3)
        for j in range(3)
    )
    flow = lg.lower(
        lg.Lagrangian(kinetic, -sum((3 - i) * sp.cos(q[i]) for i in range(3)))
    )
    nodes = len(flow.recurrences(flow.guard().rates).nodes)
    assert nodes * 25 * 12 > recursion._WRITTEN_OUT
    agree(monkeypatch, flow, [0.5, 0.2, -0.3], [0.0] * 3, (0, 2), tol=1e-14)
