"""Ensembles: each member as if alone, whatever the chunks, devices and processes."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.flows.ensembles import ensemble as module
from lagrangian.flows.solvers.dopri8_lanes import (
    DONE,
    RUNNING,
    STUCK,
    TOO_MANY_STEPS,
    Bounds,
    Lanes,
    _stages,
    integrate_lanes,
)
from lagrangian.flows.solvers.lanes import field_in_lanes
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.platform import lowered_for
from lagrangian.systems.mechanics import SYSTEMS

x, y = lg.coordinates("x y")
OSCILLATOR = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2))


def pendulum():
    system = SYSTEMS["double-pendulum"]()
    return lg.lower(system.lagrangian, system.parameters)


PENDULUM = pendulum()


def states(members, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(-2, 2, (members, 2)), np.zeros((members, 2))


@pytest.mark.parametrize(
    "links", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 16))]
)
def test_many_coordinates_go_as_each_member_alone(links):
    """Their nodes are gathered, level by level, where those of fewer are slices."""
    flow = chain(links)
    q0 = np.random.default_rng(0).uniform(-1, 1, (3, links))
    many = flow.ensemble(q0, np.zeros((3, links)), (0, 0.5), tol=1e-10)
    alone = flow.integrate(q0[1], np.zeros(links), (0, 0.5), tol=1e-10)
    np.testing.assert_allclose(many.q[1, -1], alone.q[-1], atol=1e-8)


def test_against_closed_form_and_the_other_solver():
    q0, v0 = np.linspace(0.1, 3, 150)[:, None], np.zeros((150, 1))
    many = OSCILLATOR.ensemble(q0, v0, (0, 2, 20), tol=1e-10)
    expected = q0 * np.cos(np.array([0, 2, 20.0]))
    np.testing.assert_allclose(many[x], expected, atol=2e-8)

    q0, v0 = states(70)
    many = PENDULUM.ensemble(q0, v0, (0, 3), tol=1e-10)
    for member in (0, 13, 69):
        alone = PENDULUM.integrate(q0[member], v0[member], (0, 3), tol=1e-13)
        np.testing.assert_allclose(many.q[member, -1], alone.q[-1], atol=1e-6)
    assert not many.failures


def test_the_error_follows_the_tolerance():
    q0, v0 = np.linspace(0.1, 3, 64)[:, None], np.zeros((64, 1))
    errors = [
        np.abs(OSCILLATOR.ensemble(q0, v0, (0, 100), tol=tol)[x][:, -1]
               - q0[:, 0] * np.cos(100)).max()
        for tol in (1e-5, 1e-8, 1e-11)
    ]  # fmt: skip
    assert errors[0] < 1e-3 and errors[1] < 1e-6 and errors[2] < 1e-9
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_a_step_has_order_eight():
    """The error of equal steps against their number, after x = cos(t)."""
    flow, counts, errors = OSCILLATOR, np.array([4, 6, 8, 12]), []
    with jax.enable_x64(True):
        for count in counts:
            h = jnp.full(1, 6 / count)
            y, field = jnp.array([[1.0], [0.0]]), field_in_lanes(flow, ())
            for _ in range(count):
                state = Lanes(0 * h, y, field(y, h), *[None] * 7)
                y = y + h * _stages(field, state, h).change
            errors.append(abs(float(y[0, 0]) - np.cos(6)))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-8, abs=0.5)


def test_bits_do_not_depend_on_the_neighbours(monkeypatch):
    q0, v0 = states(200)
    whole = PENDULUM.ensemble(q0, v0, (0, 3))
    backwards = PENDULUM.ensemble(q0[::-1], v0[::-1], (0, 3))
    np.testing.assert_array_equal(whole.q, backwards.q[::-1])
    monkeypatch.setattr(module, "_CHUNK", 64)
    in_chunks = PENDULUM.ensemble(q0, v0, (0, 3))
    np.testing.assert_array_equal(whole.q, in_chunks.q)
    np.testing.assert_array_equal(whole.v, in_chunks.v)
    few = PENDULUM.ensemble(q0[7:9], v0[7:9], (0, 3))
    np.testing.assert_array_equal(whole.q[7:9], few.q)


def test_members_that_fail_are_marked_and_the_others_finish():
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -1 / x))
    q0 = np.array([[1.0], [2.0], [1e300], [np.nan]])
    v0 = np.array([[0.0], [2.0], [0.0], [0.0]])
    many = flow.ensemble(q0, v0, (0, 5), tol=1e-8)
    assert set(many.failures) == {0, 3}
    assert many.status[0] in (STUCK, TOO_MANY_STEPS)
    assert many.t_end[0] == pytest.approx(np.pi / np.sqrt(8), rel=1e-3)
    assert f"t = {many.t_end[0]:g}" in many.failures[0]
    alone = flow.integrate(q0[1], v0[1], (0, 5), tol=1e-12)
    np.testing.assert_allclose(many.q[1, -1], alone.q[-1], atol=1e-6)
    assert "2 failed" in repr(many)


def test_constraints_are_kept_and_a_start_beside_them_is_named():
    free = (x.dot**2 + y.dot**2) / 2
    flow = lg.lower(lg.Lagrangian(free, y, constraints=[x**2 + y**2 - 1]))
    angles = np.linspace(0.5, 2.5, 5)
    q0 = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    many = flow.ensemble(q0, [[0.0, 0.0]], (0, 3), tol=1e-11)
    for member in range(5):
        alone = flow.integrate(q0[member], [0.0, 0.0], (0, 3), tol=1e-14, points=2)
        np.testing.assert_allclose(many.q[member, -1], alone.q[-1], atol=1e-9)
    q0[3] *= 1.1
    with pytest.raises(LagrangianError, match="`q0` of member 3 violates the constr"):
        flow.ensemble(q0, [[0.0, 0.0]], (0, 3))


def test_more_coordinates_than_are_factored_in_place():
    """A mass matrix of 10 coordinates, and one that needs pivots."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(10)))
    squares, potential = sum(c.dot**2 for c in q), sum(c**2 for c in q) / 2
    flow = lg.lower(
        lg.Lagrangian(squares / 2 + sum(c.dot for c in q) ** 2 / 2, potential)
    )
    many = flow.ensemble([np.linspace(-1, 1, 10)], [[0.0] * 10], (0, 2), tol=1e-11)
    # The mean moves with the mass 11, and all differences with the mass 1.
    np.testing.assert_allclose(
        many.q[0, -1], np.linspace(-1, 1, 10) * np.cos(2), atol=1e-9
    )
    together = flow.ensemble([[1.0] * 10], [[0.0] * 10], (0, 2), tol=1e-11)
    np.testing.assert_allclose(together.q[0, -1], np.cos(2 / np.sqrt(11)), atol=1e-9)

    indefinite = lg.lower(lg.Lagrangian(x.dot * y.dot, x * y))
    many = indefinite.ensemble([[1.0, 0.5]], [[0.0, 0.0]], (0, 3), tol=1e-11)
    np.testing.assert_allclose(many.q[0, -1], np.cos(3) * np.array([1, 0.5]), atol=1e-9)


def test_the_limit_on_steps():
    many = PENDULUM.ensemble(*states(5), (0, 100), max_steps=20)
    assert len(many.failures) == 5
    assert (many.steps == 20).all()
    assert "`max_steps`" in many.failures[0]


def test_records_replace_the_states():
    q0, v0 = states(100)
    energy = PENDULUM.lagrangian.energy
    many = PENDULUM.ensemble(q0, v0, (0, 1, 2, 3), tol=1e-9, record={"E": energy})
    assert many.q is None
    assert many.records["E"].shape == (100, 4)
    drift = np.abs(many.records["E"] - many.records["E"][:, :1])
    assert drift.max() < 1e-5
    with pytest.raises(LagrangianError, match="`E`"):
        many[PENDULUM.lagrangian.coordinates[0]]


def test_summaries_are_those_of_the_values_and_chunks_do_not_matter(monkeypatch):
    energy = PENDULUM.lagrangian.energy
    law = lg.noether(PENDULUM.lagrangian, lg.TimeTranslation())
    a, _ = PENDULUM.lagrangian.coordinates
    kept = {"E": law, "all": energy} | {
        name: (a, name) for name in ("min", "max", "mean", "range")
    }
    q0, v0 = states(100)
    times = np.linspace(0, 2, 23)
    many = PENDULUM.ensemble(q0, v0, times, record=kept)
    angle = PENDULUM.ensemble(q0, v0, times)[a]
    np.testing.assert_allclose(many.records["E"], many.records["all"], rtol=1e-12)
    for name in ("min", "max", "mean", "range"):
        assert many.records[name].shape == (100,)
        expected = getattr(np, name if name != "range" else "ptp")(angle, axis=1)
        np.testing.assert_array_equal(many.records[name], expected)
    monkeypatch.setattr(module, "_CHUNK", 64)
    in_chunks = PENDULUM.ensemble(q0, v0, times, record=kept)
    for name in kept:
        np.testing.assert_array_equal(many.records[name], in_chunks.records[name])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([x], r"`record` is \[x\]. Pass expressions by name"),
        ({"a": (x, "median")}, "no summary `median` for `a`. Nearest: `mean`"),
        ({"a": "x"}, "`record` has 'x' for `a`"),
        ({"a": x + sp.Symbol("g")}, "no value for `g`, which the record `a` contains"),
    ],
)
def test_what_cannot_be_recorded_is_named(record, message):
    with pytest.raises(LagrangianError, match=message):
        OSCILLATOR.ensemble([[1.0]], [[0.0]], (0, 1), record=record)


def test_devices_that_are_none_are_named():
    with pytest.raises(LagrangianError, match="`devices` is 'cpu'. Pass devices"):
        OSCILLATOR.ensemble([[1.0]], [[0.0]], (0, 1), devices="cpu")


def test_chunks_fit_the_memory_and_share_the_work():
    devices, most = jax.local_devices(), module._BYTES
    assert module._chunk_size(devices, 10**6, 2 * 4 * 8, most) == 4096
    # Ten thousand output times of two coordinates: not all of 4096 members fit.
    each = 10_000 * 4 * 8
    size = module._chunk_size(devices, 10**6, each, most)
    assert size * each <= module._BYTES < 2 * size * each
    assert module._chunk_size(devices, 3, 64, most) == module.LANES
    size = module._chunk_size(devices, 1000, 64, most)
    assert size * module._workers(devices) < 2048


def test_the_bar_counts_members(monkeypatch):
    seen = []

    class Bar:
        def __init__(self, total, **options):
            seen.append(total)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update(self, members):
            seen.append(members)

    monkeypatch.setattr(module, "tqdm", Bar)
    monkeypatch.setattr(module, "_CHUNK", 64)
    OSCILLATOR.ensemble(np.ones((150, 1)), [[0.0]], (0, 1))
    assert seen[0] == 150 and sorted(seen[1:]) == [22, 64, 64]


def test_a_damaged_chunk_is_computed_anew(tmp_path):
    q0, v0 = states(5)
    whole = PENDULUM.ensemble(q0, v0, (0, 1), save=tmp_path)
    (chunk,) = tmp_path.glob("*/*.npz")
    chunk.write_bytes(chunk.read_bytes()[:100])
    again = PENDULUM.ensemble(q0, v0, (0, 1), save=tmp_path)
    np.testing.assert_array_equal(whole.q, again.q)
    assert chunk.stat().st_size > 100


def test_it_goes_on_from_finished_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)
    q0, v0 = states(200)
    whole = PENDULUM.ensemble(q0, v0, (0, 1))
    work, calls = module._worker, []

    def interrupted(*arguments):
        inner = work(*arguments)

        def chunk(*a):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return inner(*a)

        return chunk

    monkeypatch.setattr(module, "_worker", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PENDULUM.ensemble(q0, v0, (0, 1), save=tmp_path)
    done = list(tmp_path.glob("*/*.npz"))
    assert 1 <= len(done) <= 3
    before = {file: file.stat().st_mtime_ns for file in done}
    resumed = PENDULUM.ensemble(q0, v0, (0, 1), save=tmp_path)
    np.testing.assert_array_equal(whole.q, resumed.q)
    assert {file: file.stat().st_mtime_ns for file in done} == before
    # Another ensemble does not take these chunks for its own.
    other = PENDULUM.ensemble(q0 + 0.1, v0, (0, 1), save=tmp_path)
    assert not np.array_equal(other.q, whole.q)
    assert len(list(tmp_path.iterdir())) == 2


def test_explicit_time():
    driven = lg.lower(lg.Lagrangian(x.dot**2 / 2, x**2 / 2 - x * sp.cos(2 * lg.time)))
    q0, v0 = np.ones((3, 1)), np.zeros((3, 1))
    many = driven.ensemble(q0, v0, (0, 7), tol=1e-11)
    expected = (4 * np.cos(7.0) - np.cos(14.0)) / 3
    np.testing.assert_allclose(many[x][:, -1], expected, atol=1e-9)


def test_outputs_that_are_written_at_once_are_those_in_turn():
    """As accelerators write them, in lanes that are refilled."""
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -(x**4) / 4 + x**2 / 2))
    times = np.array([0.0, 1.0, 1.5, 4.0])
    q0 = np.linspace(-1.4, 1.4, 64)[None]
    runs = []
    with jax.enable_x64(True):
        field, y0 = field_in_lanes(flow, ()), np.concatenate([q0, 0 * q0])
        bounds = Bounds(1e-9, np.zeros((1, 1)), np.inf)
        for together in (True, False):

            def run(*arrays, together=together):
                return integrate_lanes(
                    field,
                    *(*arrays, jnp.zeros((1, 64)), 61, jnp.asarray(times), bounds),
                    settle=None,
                    reach=None,
                    jumps=False,
                    lanes=8,
                    max_steps=200,
                    at_once=together,
                )

            compiled = jax.jit(run) if together else fused(run)
            runs.append(compiled(y0, field(y0, np.zeros(64))))
    at_once, in_turn = runs
    np.testing.assert_array_equal(at_once.status, in_turn.status)
    finished = np.asarray(in_turn.status) == DONE
    assert 10 < finished.sum() < 61  # those beyond the saddles escape
    assert (np.asarray(in_turn.status[61:]) == RUNNING).all()
    ends = (x.y[..., finished] for x in (at_once, in_turn))
    np.testing.assert_allclose(*ends, atol=1e-7)
    np.testing.assert_allclose(at_once.t, in_turn.t, rtol=1e-3)


def chain(n):
    """A planar chain of n equal links."""
    q = lg.coordinates(" ".join(f"q{i}" for i in range(n)))
    kinetic = sum(
        (n - max(i, j)) / 2 * q[i].dot * q[j].dot * sp.cos(q[i] - q[j])
        for i in range(n)
        for j in range(n)
    )
    potential = sum(-(n - i) * sp.cos(q[i]) for i in range(n))
    return lg.lower(lg.Lagrangian(kinetic, potential))


@pytest.fixture
def accelerated(monkeypatch):
    """`ensemble` as for an accelerator: plain XLA, lanes refilled by scattering."""

    def ensemble(flow, *arguments, lanes=16, chunk=128, **options):
        monkeypatch.setattr(module, "_ACCELERATOR_LANES", lanes)
        monkeypatch.setattr(module, "_ACCELERATOR_CHUNK", chunk)
        with lowered_for("cuda"):
            return flow.ensemble(*arguments, **options)

    return ensemble


def test_an_accelerator_gets_the_same_paths(accelerated):
    q0, v0 = states(200)
    here = PENDULUM.ensemble(q0, v0, (0, 1, 3), tol=1e-10)
    there = accelerated(PENDULUM, q0, v0, (0, 1, 3), tol=1e-10)
    assert not there.failures
    np.testing.assert_allclose(there.q, here.q, atol=1e-7)
    np.testing.assert_allclose(there.v, here.v, atol=1e-7)
    assert not np.array_equal(there.q, here.q)  # another program, and XLA's own sines


def test_on_an_accelerator_too_bits_do_not_depend_on_neighbours(accelerated):
    q0, v0 = states(200)
    whole = accelerated(PENDULUM, q0, v0, (0, 3))
    for lanes, chunk in ((64, 128), (64, 64)):
        other = accelerated(
            PENDULUM, q0[::-1], v0[::-1], (0, 3), lanes=lanes, chunk=chunk
        )
        np.testing.assert_array_equal(whole.q, other.q[::-1])


def test_an_accelerator_marks_failures_and_keeps_constraints(accelerated):
    flow = lg.lower(lg.Lagrangian(x.dot**2 / 2, -1 / x))
    q0, v0 = np.array([[1.0], [2.0], [np.nan]]), np.array([[0.0], [2.0], [0.0]])
    many = accelerated(flow, q0, v0, (0, 5), tol=1e-8)
    assert set(many.failures) == {0, 2}
    assert many.t_end[0] == pytest.approx(np.pi / np.sqrt(8), rel=1e-3)

    free = (x.dot**2 + y.dot**2) / 2
    flow = lg.lower(lg.Lagrangian(free, y, constraints=[x**2 + y**2 - 1]))
    angles = np.linspace(0.5, 2.5, 40)
    q0 = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    here = flow.ensemble(q0, [[0.0, 0.0]], (0, 3), tol=1e-11)
    there = accelerated(flow, q0, [[0.0, 0.0]], (0, 3), tol=1e-11)
    np.testing.assert_allclose(there.q, here.q, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(there.q[:, -1], axis=1), 1, atol=1e-14)


def test_many_coordinates_on_an_accelerator(accelerated):
    flow = chain(5)
    q0 = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 5))
    here = flow.ensemble(q0, 0 * q0, (0, 1), tol=1e-10)
    there = accelerated(flow, q0, 0 * q0, (0, 1), tol=1e-10)
    np.testing.assert_allclose(there.q, here.q, atol=1e-8)


def test_devices_without_float64_are_refused():
    tpu = SimpleNamespace(platform="tpu", process_index=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.jax, "Device", SimpleNamespace)
        with pytest.raises(LagrangianError, match="TPUs, which have no float64"):
            module._devices([tpu])


@pytest.mark.parametrize(
    ("q0", "v0", "sentence"),
    [
        (np.ones(3), np.ones((3, 2)), r"`q0` has shape \(3,\)"),
        (np.ones((3, 2)), np.ones((4, 2)), "`q0` has 3 members and `v0` has 4"),
        (np.ones((0, 2)), np.ones((0, 2)), r"`q0` has shape \(0, 2\)"),
    ],
)
def test_wrong_shapes_are_named(q0, v0, sentence):
    with pytest.raises(LagrangianError, match=sentence):
        PENDULUM.ensemble(q0, v0, (0, 1))


def test_mappings_of_arrays_and_numbers():
    a, b = PENDULUM.lagrangian.coordinates
    many = PENDULUM.ensemble(
        {a: np.linspace(0, 1, 4), b: 0.5}, {a: 0, b: [0] * 4}, (0, 1)
    )
    assert many.q.shape == (4, 2, 2)
    with pytest.raises(LagrangianError, match="`q0` has no value for `b`"):
        PENDULUM.ensemble({a: 1.0}, {a: 0, b: 0}, (0, 1))


SCRIPT = """
    import sys
    import jax
    if {distributed}:
        jax.distributed.initialize("127.0.0.1:{port}", 2, int(sys.argv[1]))
    import numpy as np
    import lagrangian as lg
    from lagrangian.flows.ensembles import ensemble
    from lagrangian.systems.mechanics import SYSTEMS

    ensemble._CHUNK = 64
    system = SYSTEMS["double-pendulum"]()
    flow = lg.lower(system.lagrangian, system.parameters)
    q0 = np.random.default_rng(0).uniform(-2, 2, ({members}, 2))
    devices = {devices}
    many = flow.ensemble(q0, 0 * q0, (0, 2), devices=devices)
    np.save(sys.argv[2], many.q)
    print(len(jax.local_devices()), jax.process_count())
"""


def run_script(tmp_path, name, rank=0, wait=True, flags="", **values):
    values = {"distributed": False, "port": 0, "devices": None, "members": 300} | values
    file = tmp_path / f"{name}.py"
    file.write_text(textwrap.dedent(SCRIPT).format(**values))
    process = subprocess.Popen(
        [sys.executable, file, str(rank), tmp_path / f"{name}.npy"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return finished(process) if wait else process


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finished(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    return output.split()[-2:]  # behind what the processes' library says


@pytest.mark.slow
def test_eight_devices_a_mesh_and_two_processes_give_the_same_bits(tmp_path):
    assert run_script(tmp_path, "one") == ["1", "1"]
    one = np.load(tmp_path / "one.npy")
    flags = "--xla_force_host_platform_device_count=8"
    assert run_script(tmp_path, "eight", flags=flags) == ["8", "1"]
    np.testing.assert_array_equal(one, np.load(tmp_path / "eight.npy"))
    mesh = "jax.make_mesh((4,), ('members',), devices=jax.devices()[:4])"
    assert run_script(tmp_path, "mesh", flags=flags, devices=mesh) == ["8", "1"]
    np.testing.assert_array_equal(one, np.load(tmp_path / "mesh.npy"))

    # In two processes; and 40 members, which are too few to be shared by them.
    for members in (300, 40):
        values = {"distributed": True, "port": free_port(), "members": members}
        pair = [
            run_script(tmp_path, f"rank{i}", rank=i, wait=False, **values)
            for i in range(2)
        ]
        assert [finished(process) for process in pair] == [["1", "2"]] * 2
        for i in range(2):
            several = np.load(tmp_path / f"rank{i}.npy")
            assert len(several) == members
            if members == 300:
                np.testing.assert_array_equal(one, several)


def test_what_an_ensemble_does_not_have_is_refused_by_name():
    near, far = lg.coordinates("near far")
    flow = lg.lower(lg.Lagrangian(near.dot**2 / 2, near**2 / 2))
    many = flow.ensemble([[1.0], [2.0]], [[0.0]], (0, 1), progress=False)
    for symbol in (far, near.ddot, "nera"):
        with pytest.raises(LagrangianError, match="`near`"):
            many[symbol]


@pytest.mark.parametrize("start", [-10, -1000])
def test_a_narrow_wall_far_away_reflects(start):
    """No stage of a step that leads over it would feel it, nor the energy behind it."""
    wall = lg.Lagrangian(x.dot**2 / 2, sp.Rational(3, 5) * sp.exp(-(x**2) * 25 / 2))
    many = lg.lower(wall, {}).ensemble(
        [[start]], [[1.0], [1.2]], (0, 20 - start), progress=False
    )
    assert list(many.status) == [0, 0]
    np.testing.assert_allclose(many.v[:, -1, 0], [-1, 1.2], atol=1e-4)
