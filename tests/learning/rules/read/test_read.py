"""`lg.rule`: what is read and derived of chains, groups, schedules, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from flax import nnx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optax import contrib

import lagrangian as lg
from lagrangian.learning.rules.read.convex import kinetic_energy
from lagrangian.learning.rules.read.describe import legendre, speed
from lagrangian.learning.rules.read.exact_numbers import exact
from lagrangian.learning.rules.read.kind import LENGTH, P
from lagrangian.learning.rules.read.part import count, g, q

PARAMETERS = {"dense": {"kernel": np.zeros((3, 4)), "bias": np.zeros(4)}}


def kernels(tree):
    return jax.tree.map(lambda x: jnp.ndim(x) > 1, tree)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans())
def test_the_number_that_somebody_wrote(above, below, double):
    """Decimals of six digits come back from a float of either size, and from 1 - x."""
    written = sp.Rational(above, 10**6)
    kind = np.float64 if double else np.float32
    assert exact(kind(float(written))) == written
    if above < 10**6:
        assert exact(np.float32(1 - float(written))) == 1 - written


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99), st.integers(1, 99))
def test_a_chain_of_averages_has_their_gain_and_their_age(a, b, c, d):
    """Filters one after another: responses multiply, mean ages add."""
    keep, hold = a / 100, b / 100
    tx = optax.chain(
        optax.trace(keep), optax.ema(hold, debias=False), optax.scale(-c / 100)
    )
    kind = lg.rule(tx).kind
    keep, hold, scale = (sp.Rational(n, 100) for n in (a, b, c))
    assert kind.name == "euclidean"
    assert kind.age == keep / (1 - keep) + hold / (1 - hold)
    assert kind.rate * kind.response == scale / (1 - keep)


def test_adam_is_written_as_the_user_wrote_it():
    rule = lg.rule(optax.adamw(1e-3, weight_decay=0.01))
    part = rule.part
    mu, nu = (s.after for s in part.states)
    tenth = sp.Rational(9, 10)
    metric = sp.sqrt(nu / (1 - sp.Rational(999, 1000) ** (count + 1))) + sp.S(10) ** -8
    expected = -mu / (1 - tenth ** (count + 1)) / metric / 1000 - q / 10**5
    assert part.update == expected
    assert part.states[0].update == g / 10 + tenth * part.states[0].before
    assert len(str(rule).splitlines()) <= 10 and "\n" not in f"{rule}"


@pytest.mark.parametrize(
    "tx, energy",
    [
        (optax.sign_sgd(0.1), sp.Piecewise((0, speed <= 1), (sp.oo, True))),
        (
            optax.chain(optax.clip(2.0), optax.sgd(0.1)),
            sp.Piecewise((speed**2 / 2, speed <= 2), (sp.oo, True)),
        ),
        (
            optax.chain(optax.clip_by_global_norm(3.0), optax.sgd(0.1)),
            sp.Piecewise((speed**2 / 2, speed <= 3), (sp.oo, True)),
        ),
        (
            optax.chain(contrib.normalize(), optax.sgd(0.1)),
            sp.Piecewise((0, speed <= 1), (sp.oo, True)),
        ),
    ],
    ids=["sign", "clip", "global norm", "normalised"],
)
def test_kinetic_energies_by_legendre(tx, energy):
    rule = lg.rule(tx)
    assert rule.kind.name == "convex" and rule.kind.rate == sp.Rational(1, 10)
    assert legendre(rule.kind) == energy
    assert "T = " in str(rule) and "$$ T = " in rule._repr_html_()


@pytest.mark.parametrize(
    "slope",
    [P**3 + P, sp.sinh(P), P / sp.sqrt(1 + P**2), sp.tanh(2 * P), sp.sign(P) + P],
    ids=str,
)
def test_a_legendre_transform_is_a_supremum(slope):
    """sup_p (p v - psi(p)), on a fine grid."""
    energy = kinetic_energy(slope, P, LENGTH, speed)
    momenta = np.linspace(0, 6, 60001)
    forces = sp.lambdify(P, slope, "numpy")(momenta[1:])
    steps = np.concatenate([[0.0], np.cumsum(forces) * momenta[1]])
    for v in (0.2, 0.7):
        expected = np.max(momenta * v - steps)
        assert float(energy.subs(speed, v)) == pytest.approx(expected, abs=1e-3)


def test_what_is_not_convex_has_no_kinetic_energy():
    bent = optax.stateless(lambda u, _: jax.tree.map(lambda x: -jnp.sin(x), u))
    rule = lg.rule(bent)
    assert rule.kind.name == "none" and "no gradient of a convex" in str(rule)
    with pytest.raises(lg.LagrangianError, match="has no gradient flow"):
        rule.gradient_flow(lg.Loss("f", lg.blocks("w")))


def test_groups_have_rates_and_decays_of_their_own():
    tx = optax.multi_transform(
        {
            "kernels": optax.chain(
                optax.add_decayed_weights(0.1), optax.sgd(0.02, momentum=0.9)
            ),
            "others": optax.sgd(0.01, momentum=0.5),
        },
        lambda tree: jax.tree.map(
            lambda x: "kernels" if jnp.ndim(x) > 1 else "others", tree
        ),
    )
    rule = lg.rule(tx, PARAMETERS)
    kernel, bias = (rule.of(lg.blocks(f"dense.{n}")) for n in ("kernel", "bias"))
    found = [(r.learning_rate, r.memory, r.coupled_decay) for r in (kernel, bias)]
    assert found == [(0.02, 0.9, 0.1), (0.01, 0.5, 0.0)]
    assert kernel.is_euclidean and bias.is_euclidean and not rule.is_euclidean
    assert kernel.parameters() == pytest.approx(
        lg.HeavyBall(0.02, 0.9, 0.1).parameters()
    )


def test_a_group_may_be_called_as_a_parameter_is():
    tx = optax.multi_transform(
        {"w": optax.sgd(0.1, 0.9), "b": optax.sgd(0.1)}, {"w": "w", "b": "b"}
    )
    start = {"w": np.zeros((2, 3)), "b": np.zeros(3)}
    rule = lg.rule(tx, start)
    assert [rule.of(lg.blocks(n)).memory for n in "wb"] == [0.9, 0.0]
    kept = rule.of(lg.blocks("w")).trace(tx.init(start))
    assert list(kept) == ["w"] and kept["w"].shape == (2, 3)


def test_a_mask_on_the_decay_of_biases():
    tx = optax.chain(
        optax.masked(optax.add_decayed_weights(0.1), kernels), optax.sgd(0.02, 0.9)
    )
    rule = lg.rule(tx, PARAMETERS)
    kernel, bias = (rule.of(lg.blocks(f"dense.{n}")) for n in ("kernel", "bias"))
    assert (kernel.coupled_decay, bias.coupled_decay) == (0.1, 0.0)
    assert kernel.learning_rate == bias.learning_rate == 0.02
    assert "dense.bias:" in str(rule) and "decay 1/10 through the gradient" in str(rule)


def test_the_discrete_law_of_a_rule_in_groups():
    """Exact in every array, although no one decay is that of all."""
    tx = optax.chain(
        optax.masked(optax.add_decayed_weights(0.1), kernels), optax.sgd(0.02, 0.9)
    )
    start = {
        "kernel": np.array([[1.0, 2.0], [0.5, -1.0]]),
        "bias": np.array([0.3, 2.0]),
    }
    rule = lg.rule(tx, start)
    symmetries = [lg.Scale("kernel"), lg.Scale("bias")]
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]

    def loss(p, batch):
        u, v = (p[n] / jnp.linalg.norm(p[n]) for n in ("kernel", "bias"))
        return jnp.sum(jnp.sin(u @ v)) + 0 * jnp.sum(batch)

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, start)
        run = lg.train(start, loss, np.zeros((4, 1)), rule, 30, observe=laws)
        report = lg.check(run, laws)
    assert report.holds and max(row.discrete for row in report) < 1e-13
    # Each has one block, and the continuous law of the rule that moves it.
    assert all(row.continuous < 0.05 for row in report)
    for row, name in zip(report, ("kernel", "bias"), strict=True):
        assert f"the law of the rule that moves `{name}`" in row.reason


@pytest.mark.parametrize("name, decay", [("kernel", 0.1), ("bias", 0.0)])
def test_the_continuous_law_of_one_group(name, decay):
    """The whole chain trains; the claims are those of the array that is observed."""
    tx = optax.chain(
        optax.masked(optax.add_decayed_weights(0.1), kernels), optax.sgd(0.02, 0.9)
    )
    start = {
        "kernel": np.array([[1.0, 2.0], [0.5, -1.0]]),
        "bias": np.array([0.3, 2.0]),
    }
    whole = lg.rule(tx, start)
    rule = whole.of(lg.blocks(name))
    law = lg.noether(rule.lagrangian(lg.Scale(name).loss), lg.Scale(name))

    def loss(p, batch):
        u, v = (p[n] / jnp.linalg.norm(p[n]) for n in ("kernel", "bias"))
        return jnp.sum(jnp.sin(u @ v)) + 0 * jnp.sum(batch)

    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, start)
        run = lg.train(start, loss, np.zeros((4, 1)), rule, 60, observe=[law])
        (row,) = lg.check(run, [law])
        # The control: the other array's decay.
        (other,) = whole.kinds.keys() - {name}
        run.rule = whole.of(lg.blocks(other))
        (wrong,) = lg.check(run, [law])
    assert row.holds and row.discrete < 1e-13
    assert rule.coupled_decay == decay
    assert wrong.continuous > 0.05 > 5 * row.continuous


@pytest.mark.parametrize(
    "schedule",
    [
        optax.linear_schedule(0.0, 0.1, 20),
        optax.cosine_decay_schedule(0.1, 50),
        optax.exponential_decay(0.1, 10, 0.5),
        optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 40),
        optax.piecewise_constant_schedule(0.1, {10: 0.5, 20: 0.1}),
        lambda step: 0.1 / jnp.sqrt(1.0 + step),
    ],
    ids=["linear", "cosine", "exponential", "warm-up", "piecewise", "own"],
)
def test_schedules_are_read(schedule):
    with jax.enable_x64(True):
        for tx in (
            optax.sgd(schedule, momentum=0.9),
            optax.inject_hyperparams(optax.sgd)(learning_rate=schedule, momentum=0.9),
        ):
            rule = lg.rule(tx)
            assert rule.is_euclidean and rule.memory == 0.9
            steps = jnp.arange(0, 60, 7)
            found = jnp.stack([jnp.asarray(rule.rate(k)) for k in steps])
            expected = jnp.stack([jnp.asarray(schedule(k)) for k in steps])
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-16)


DECAY = optax.linear_schedule(0.1, 0.01, 50)
_DECAYED = optax.inject_hyperparams(optax.add_decayed_weights)(weight_decay=DECAY)
UNUSUAL = {
    "decay through the trace": optax.chain(_DECAYED, optax.sgd(0.02, 0.9)),
    "decay past the trace": optax.chain(
        optax.trace(0.9), _DECAYED, optax.scale_by_learning_rate(0.02)
    ),
    "adamw": optax.inject_hyperparams(optax.adamw)(1e-3, weight_decay=DECAY),
    "2-Adam": optax.chain(
        *[optax.scale_by_adam()] * 2, optax.scale_by_learning_rate(1e-3)
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_schedules_of_decay_and_chains_of_adam_have_their_exact_law(
    name, network, small_data, symmetries
):
    """And where there is no continuous law, why."""
    tx = UNUSUAL[name]

    def cross_entropy(model, batch):
        says = jax.nn.log_softmax(model(batch[0]))
        return -jnp.take_along_axis(says, batch[1][:, None], axis=1).mean()

    scales = symmetries[:2]
    run = lg.train(
        network(), cross_entropy, small_data, tx, 60, observe=scales, batch_size=16
    )
    rule = lg.rule(tx)
    if name.startswith("decay"):
        assert "its weight decay changes with the step" in str(rule)
    if name == "adamw":
        decay = sp.lambdify(count, rule.kind.decoupled)
        assert float(decay(25)) == pytest.approx(float(DECAY(25)), rel=1e-6)
    for row in lg.check(run, scales):
        assert row.holds and row.discrete < 1e-12 and row.continuous is None, row
        assert "so there is no continuous law" in row.reason


def _decayed(scaling, decay=0.01):
    """A chain whose decay is added before the learning rate, as optax's own are."""

    def make(rate):
        step = optax.scale_by_learning_rate(rate)
        return optax.chain(scaling, optax.add_decayed_weights(decay), step)

    return make


#: Rules of each kind: a metric, a convex function of a covector, a mass.
SCHEDULED = {
    "adamw": optax.adamw,
    "rmsprop": optax.rmsprop,
    "lion": optax.lion,
    "sign": _decayed(optax.scale_by_sign()),
    "clip": _decayed(optax.clip(0.5)),
    "clip a trace": _decayed(optax.chain(optax.trace(0.9), optax.clip(0.5))),
    "heavy ball": _decayed(optax.trace(0.9)),
}
SCHEDULES = {
    "warm-up": optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 40),
    "exponential": optax.exponential_decay(0.1, 7, 0.5),
    "steps": optax.piecewise_constant_schedule(0.1, {5: 0.1, 20: 0.3}),
    "inverse root": lambda k: 0.1 / jnp.sqrt(k + 1.0),
    "constant": optax.constant_schedule(0.1),
}


@settings(max_examples=15, deadline=None)
@given(make=st.sampled_from(list(SCHEDULED)), schedule=st.sampled_from(list(SCHEDULES)))
@example(make="lion", schedule="warm-up")
def test_a_schedule_is_no_part_of_the_kinetic_energy(make, schedule):
    make, schedule = SCHEDULED[make], SCHEDULES[schedule]
    scheduled, constant = lg.rule(make(schedule)), lg.rule(make(0.1))
    one, other = scheduled.kind, constant.kind
    assert one.name == other.name != "none"
    assert (one.metric, one.slope) == (other.metric, other.slope)
    assert (one.coupled, one.decoupled) == (other.coupled, other.decoupled)
    with jax.enable_x64(True):
        for k in (0, 3, 10, 25):
            found, expected = scheduled.rate(jnp.asarray(k)), schedule(jnp.asarray(k))
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("rate", [0.1, optax.exponential_decay(0.1, 7, 0.5)])
def test_a_sign_that_goes_uphill_has_no_kinetic_energy(rate):
    up = optax.scale_by_learning_rate(rate, flip_sign=False)
    for decay in (optax.identity(), optax.add_decayed_weights(0.01)):
        kind = lg.rule(optax.chain(optax.scale_by_sign(), decay, up)).kind
        assert kind.name == "none" and kind.slope is None


def test_lion_under_a_schedule_has_its_exact_law(network, small_data, symmetries):
    scales = symmetries[:2]
    tx = optax.lion(SCHEDULES["warm-up"], weight_decay=0.1)

    def cross_entropy(model, batch):
        says = jax.nn.log_softmax(model(batch[0]))
        return -jnp.take_along_axis(says, batch[1][:, None], axis=1).mean()

    run = lg.train(
        network(), cross_entropy, small_data, tx, 60, observe=scales, batch_size=16
    )
    for row in lg.check(run, scales):
        assert row.holds and row.discrete < 1e-12, row


def test_the_parameters_of_a_module():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    rule = lg.rule(optax.multi_transform({"a": optax.sgd(0.1)}, "a"), model)
    assert set(rule.reading.parts) == {"kernel", "bias"}


def test_what_has_no_symbolic_form_is_named():
    kinds = lg.rule(contrib.muon(0.01)).kinds
    assert kinds["bias"].name == "metric"
    assert "dot_general" in kinds["kernel"].reason
    assert "_muon.py:" in kinds["kernel"].reason
    sort = optax.stateless(lambda u, _: jax.tree.map(lambda x: -jnp.sort(x), u))
    assert "sort in" in lg.rule(sort).kind.reason


def test_a_state_whose_form_depends_on_the_size_is_seen():
    """Adafactor factors averages of 128 rows or more, and is another rule there."""
    small = lg.rule(optax.adafactor(0.1), PARAMETERS)
    large = lg.rule(optax.adafactor(0.1), {"w": np.zeros((256, 256))})
    assert small.reading.traced.scales and "of small arrays" not in str(small)
    assert not large.reading.traced.scales and "of small arrays" in str(large)
    assert type(large).__name__ == "AnyRule" and large.memory == 0
    assert lg.rule(optax.sm3(0.1)).reading.traced.scales


def test_part_of_a_rule_goes_uphill():
    assert "optax.scale(-eta)" in lg.rule(optax.scale_by_adam()).kind.reason


def test_names_of_fields_are_never_ours():
    """`adan` keeps a gradient under the name `g`."""
    part = lg.rule(optax.adan(0.01)).part
    assert {s.before for s in part.states}.isdisjoint({g, q, count})


def test_refusals():
    with pytest.raises(lg.LagrangianError, match="`tx` is a float"):
        lg.rule(0.1)
    labels = optax.multi_transform({"a": optax.sgd(0.1)}, {"other": "a"})
    with pytest.raises(lg.LagrangianError, match=r"pass them: `lg.rule\(tx, param"):
        lg.rule(labels)
    shrinking = optax.GradientTransformation(
        lambda p: jnp.zeros(2), lambda u, s, p=None: (u, jnp.zeros(3))
    )
    with pytest.raises(lg.LagrangianError, match="changes its form"):
        lg.rule(shrinking)


def averaging(b2, whole):
    """An average, with the share 1 - b2, of what `whole` makes of an array."""

    def init(parameters):
        return {"nu": jax.tree.map(lambda _: jnp.zeros(()), parameters)}

    def update(updates, state, parameters=None):
        def next_of(nu, gradient):
            return b2 * nu + (1 - b2) * whole(gradient**2)

        nu = jax.tree.map(next_of, state["nu"], updates)
        moved = jax.tree.map(lambda g, v: -0.1 * g / jnp.sqrt(v), updates, nu)
        return moved, {"nu": nu}

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("b2", [0.5, 0.75, 0.6])
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_a_sum_is_none_over_a_mean_whatever_its_share(kind, b2):
    """1 - b2 may be one over the number of elements that are traced."""
    read = lg.rule(averaging(b2, getattr(jnp, kind)))
    other = {"sum": "mean", "mean": "sum"}[kind]
    assert f"{kind}(g**2)" in str(read) and f"{other}(g**2)" not in str(read)
