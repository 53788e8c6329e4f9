"""Everything public can be pickled and copied, and worked with in other processes."""

import copy
import operator
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import numpy as np
import optax
import pytest
import sympy as sp
from flax import nnx

import lagrangian as lg
from lagrangian.networks.digits import cross_entropy
from lagrangian.systems.expression import parse_expression

x = lg.coordinates("x")
k = sp.Symbol("k", positive=True)
OSCILLATOR = lg.Lagrangian(x.dot**2 / 2, k * x**2 / 2)
DATA = np.linspace(-1, 1, 96, dtype=np.float32).reshape(16, 6), np.arange(16) % 3


class Network(nnx.Module):
    """With functions of JAX that are objects of its own."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(6, 4, rngs=rngs)
        self.last = nnx.Linear(4, 3, rngs=rngs)
        self.activations = (jax.nn.relu, jax.nn.silu)

    def __call__(self, inputs):
        hidden = self.activations[0](self.first(inputs))
        return self.last(self.activations[1](hidden) + hidden)


def trained():
    """A run with discovered laws, whose maps are functions, and all that led to it."""
    found = lg.discover(Network(), cross_entropy, DATA)
    rule = lg.HeavyBall(0.05, 0.9)
    symmetries = [*found, lg.Scale("first.kernel")]
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    run = lg.train(Network(), cross_entropy, DATA, rule, 12, observe=laws)
    return found, laws, run


@pytest.fixture(scope="module")
def made():
    return trained()


@pytest.fixture(scope="module")
def flow():
    """Used: it holds what was compiled for it."""
    flow = lg.lower(OSCILLATOR, {k: 2.0})
    flow.integrate({x: 1.0}, {x: 0.0}, (0, 1))
    return flow


WAYS = {"pickle": lambda o: pickle.loads(pickle.dumps(o)), "copy": copy.deepcopy}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_and_its_laws(made, way):
    found, laws, run = made
    again = WAYS[way](run)
    np.testing.assert_array_equal(again.losses, run.losses)
    for law in laws:
        np.testing.assert_array_equal(again[law].quantity, run[law].quantity)
    assert str(lg.check(again, laws)) == str(lg.check(run, laws))
    assert WAYS[way](laws) == laws and WAYS[way](list(found)) == list(found)
    images = DATA[0]
    np.testing.assert_array_equal(again.model(images), run.model(images))


@pytest.mark.parametrize("way", WAYS)
def test_a_used_flow_its_path_and_its_ensemble(flow, way):
    path = flow.integrate({x: 1.0}, {x: 0.0}, (0, 1))
    again = WAYS[way](flow)
    np.testing.assert_array_equal(again.integrate({x: 1.0}, {x: 0.0}, (0, 1)).q, path.q)
    copied = WAYS[way](path)
    np.testing.assert_array_equal(copied[x], path[x])
    np.testing.assert_array_equal(copied.energy, path.energy)
    many = flow.ensemble([[1.0], [2.0]], [[0.0], [0.0]], (0, 1))
    np.testing.assert_array_equal(WAYS[way](many).q, many.q)


@pytest.mark.parametrize("way", WAYS)
def test_the_flow_of_a_network(way):
    flow = lg.network_flow(Network(), cross_entropy, DATA, lg.HeavyBall(0.1, 0.9))
    assert repr(WAYS[way](flow)) == repr(flow)


RULES = [
    lg.HeavyBall(0.1, 0.9),
    lg.Adam(0.1),
    lg.RMSProp(0.1),
    lg.Lion(0.1),
    lg.MirrorDescent(0.1, lambda x: x * sp.log(x) - x),
    lg.MirrorDescent(0.1, lambda x: x**2 / 2, inverse=lambda z: z),
    lg.NaturalGradient(0.1, lambda x: x**2 / 2),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rules_are_equal_by_content(rule, way):
    again = WAYS[way](rule)
    assert again == rule and repr(again) == repr(rule) and "0x" not in repr(rule)
    loss = lg.Loss("f", lg.blocks("w"))
    assert again.lagrangian(loss) == rule.lagrangian(loss)
    parameters = {"w": np.ones(3, np.float32)}
    updates = [
        r.optax().update(parameters, r.optax().init(parameters), parameters)[0]["w"]
        for r in (rule, again)
    ]
    np.testing.assert_array_equal(*updates)


def test_a_rule_with_another_potential_is_another():
    rules = [lg.MirrorDescent(0.1, lambda x, c=c: c * x**2) for c in (1, 1, 2)]
    assert rules[0] == rules[1] != rules[2]


THEORIES = {
    "coordinate": x.dot,
    "Lagrangian": OSCILLATOR,
    "law": lg.noether(OSCILLATOR, lg.TimeTranslation()),
    "Hamiltonian": OSCILLATOR.hamiltonian,
    "symmetries": lg.find_symmetries(OSCILLATOR),
    "solver": lg.Taylor(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", THEORIES)
def test_what_is_derived(name, way):
    again = WAYS[way](THEORIES[name])
    assert type(again) is type(THEORIES[name]) and str(again) == str(THEORIES[name])


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_error_comes_back_from_a_worker_with_what_it_carries():
    for kind in subclasses(lg.LagrangianError):
        if kind.__name__ == "InvalidExpression":
            with pytest.raises(kind) as raised:
                parse_expression("x +", {"x": x})
            error = raised.value
        else:
            error = kind("what was wrong")
        for name in ("run", "trajectory"):
            if hasattr(error, name):
                setattr(error, name, [1])
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error)
        assert vars(again) == vars(error)


def test_a_cell_of_a_notebook_that_is_run_again_makes_the_same_laws(made):
    """Symmetries, Lagrangians and laws of the same content are the same."""
    _, laws, run = made
    found = lg.discover(Network(), cross_entropy, DATA)
    symmetries = [*found, lg.Scale("first.kernel")]
    again = [lg.noether(run.rule.lagrangian(s.loss), s) for s in symmetries]
    assert again == laws and not any(a is b for a, b in zip(again, laws, strict=True))
    assert str(lg.check(run, again)) == str(lg.check(run, laws))
    other = lg.Scale("last.kernel")
    with pytest.raises(lg.LagrangianError, match="did not observe"):
        run[lg.noether(run.rule.lagrangian(other.loss), other)]


def test_a_process_that_is_spawned_works_with_them(made, flow):
    """As multiprocessing, joblib and dask do it, each of which pickles."""
    _, laws, run = made
    state = {x: 1.0}, {x: 0.0}, (0, 1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        path = pool.submit(operator.methodcaller("integrate", *state), flow)
        report = pool.submit(lg.check, run, laws)
        failed = pool.submit(operator.methodcaller("integrate", {x: 1.0}, {}, 1), flow)
        np.testing.assert_array_equal(
            path.result(timeout=120).q, flow.integrate(*state).q
        )
        assert str(report.result(timeout=120)) == str(lg.check(run, laws))
        with pytest.raises(lg.LagrangianError):
            failed.result(timeout=120)


def test_functions_of_jax_are_found_by_their_names():
    for function in (jax.nn.relu, jax.nn.silu, jax.numpy.tanh):
        assert pickle.loads(pickle.dumps(function)) is function
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(jax.jit(lambda y: y))
    schedule = lg.HeavyBall(optax.constant_schedule(0.1))  # a function within another
    assert copy.deepcopy(schedule) == schedule


class Bowl:
    """A loss that is an object."""

    def __call__(self, w):
        return (w**2).sum()


def test_a_copy_is_not_taken_for_what_it_was_copied_from():
    w = lg.blocks("w")
    system = lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, lg.Loss("f", w))
    flow = lg.lower(system, losses={"f": Bowl()})
    again = lg.lower(system, losses=flow.losses)
    assert flow.structure == again.structure
    assert hash(flow.structure) == hash(again.structure)
    # Its loss is another object, which may come to compute something else.
    assert copy.deepcopy(flow).structure != flow.structure
