"""Every public noun can be pickled, copied and shown: by pickle, as joblib and dask do
it, and at a prompt.

`NOUNS` has one of each; a public class that is missing there fails.
"""

import copy
import inspect
import pickle
import re
import sys
import threading
from functools import cache

import cloudpickle
import numpy as np
import optax
import pytest
import sympy as sp
from joblib.externals import loky

import lagrangian as lg
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.theorems.catalogue import theorem
from lagrangian.theorems.theorem import Evidence, Verification, close

x, y = lg.coordinates("x y")
k = sp.Symbol("k", positive=True)
w, v = lg.blocks("w v")
eta = sp.Symbol("eta", positive=True)
RULE = lg.HeavyBall(0.1, 0.9)
DATA = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)


@cache
def mechanics():
    system = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, k * (x**2 + y**2) / 2)
    return system, lg.lower(system, {k: 2.0}), lg.noether(system, lg.TimeTranslation())


def integrated(flow):
    return flow.integrate([1.0, 0.0], [0.0, 1.0], (0, 1), points=3)


@cache
def wave():
    phi = lg.fields("phi", over="t x")
    theory = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    return phi, theory, lg.lower(theory, interval=(0, 1), points=8)


def loss(parameters, batch):
    return ((batch @ parameters["w"] - 1) ** 2).mean()


@cache
def trained():
    law = lg.noether(RULE.lagrangian(lg.Scale("w").loss), lg.Scale("w"))
    start = {"w": np.ones(3, np.float32)}
    run = lg.train(start, loss, DATA, RULE, 6, observe=[law])
    return law, run, lg.check(run, [law])


@cache
def descent():
    """Without momentum or a closure: the flow of a loss."""
    start = {"w": np.ones(3)}
    flow = lg.network_flow(start, loss, DATA.astype(float), RULE)
    return flow, flow.integrate(t=(0, 0.1))


def mirror():
    return lg.Reflection([1.0, 0.0, 0.0], lg.Block("w", unit_axis=0))


def noisy():
    return {"w": np.ones(3)}, loss, DATA, lg.Scale("w")


def verified():
    evidence = Evidence(("a = b",), (close("a", 1.0, 1.0, 0.1),), ())
    return Verification(theorem("equilibrium"), evidence, 0, 1.0)


NOUNS = {
    "Adam": lambda: lg.Adam(0.1),
    "Average": lambda: next(iter(lg.Adam(0.1).recursion().averages.values())),
    "Block": lambda: w,
    "ConstantBlock": lambda: lg.ConstantBlock("c"),
    "Coordinate": lambda: x.ddot,
    "Discovery": lambda: lg.discover({"w": np.ones(3)}, loss, DATA),
    "Ensemble": lambda: mechanics()[1].ensemble([[1, 0]], [[0, 1]], (0, 1)),
    "Field": lambda: wave()[0].d("x"),
    "FieldFlow": lambda: wave()[2],
    "FieldTheory": lambda: wave()[1],
    "FieldTrajectory": lambda: wave()[2].integrate(
        {wave()[0]: 1.0}, {wave()[0]: 0.0}, t=(0, 1), points=3
    ),
    "Flow": lambda: mechanics()[1],
    "GeneralLinear": lambda: lg.GeneralLinear("w", "v", lg.ConstantBlock("A")),
    "GradientNoise": lambda: lg.gradient_noise(*noisy()),
    "Hamiltonian": lambda: mechanics()[0].hamiltonian,
    "HeavyBall": lambda: RULE,
    "HigherOrderLagrangian": lambda: lg.HigherOrderLagrangian(x.ddot**2 / 2 - x**2),
    "Inner": lambda: lg.Inner(w, v),
    "Lagrangian": lambda: mechanics()[0],
    "Law": lambda: mechanics()[2],
    "InputGroup": lambda: lg.InputGroup.generated(np.flip, shape=(4,)),
    "LawCount": lambda: lg.count_laws({"w": np.ones(3)}, lambda p, x: x @ p["w"], DATA),
    "LieAlgebra": lambda: lg.LieAlgebra.of([lg.TimeTranslation()]),
    "LinearMap": lambda: lg.LinearMap("A"),
    "LinearPath": lambda: lg.linear_path(*2 * [{"w": np.ones(3)}], loss, DATA),
    "Lion": lambda: lg.Lion(0.1),
    "Loss": lambda: lg.Loss("f", w),
    "LoweredLaw": lambda: lg.lower(mechanics()[2], {k: 2.0}),
    "MirrorDescent": lambda: lg.MirrorDescent(0.1, lambda x: x * sp.log(x) - x),
    "ModifiedFlow": lambda: lg.modified_flow(RULE, order=1),
    "NaturalGradient": lambda: lg.NaturalGradient(0.1, lambda x: x**2),
    "NetworkFlow": lambda: descent()[0],
    "NetworkPath": lambda: descent()[1],
    "OddBlock": lambda: mirror().odd_block({"w": np.ones(3)}, loss, DATA),
    "Orbit": lambda: lg.Orbit(lg.Scale("w"), {"w": np.ones(3)}),
    "Oscillator": lambda: trained()[0].oscillator,
    "Path": lambda: integrated(mechanics()[1]),
    "Permutation": lambda: lg.Permutation((1, 0, 2), lg.Block("w", unit_axis=0)),
    "RMSProp": lambda: lg.RMSProp(0.1),
    "Rattle": lambda: lg.Rattle(0.1),
    "Record": lambda: trained()[1][trained()[0]],
    "Recursion": lambda: RULE.recursion(),
    "Reflection": mirror,
    "Report": lambda: trained()[2],
    "Rescale": lambda: lg.Rescale("w", "v"),
    "Rotation": lambda: lg.Rotation(x, y),
    "Row": lambda: trained()[2].rows[0],
    "Rule": lambda: lg.rule(optax.adam(1e-3)),
    "Run": lambda: trained()[1],
    "Scale": lambda: lg.Scale("w"),
    "Steps": lambda: RULE.steps(lg.Loss("f", w)),
    "Symmetries": lambda: lg.find_symmetries(mechanics()[0]),
    "Symmetry": lambda: lg.Symmetry({x: y, y: -x}),
    "Symplectic": lambda: lg.Symplectic(0.1),
    "Taylor": lambda: lg.Taylor(),
    "TimeTranslation": lambda: lg.TimeTranslation(),
    "Trajectory": lambda: integrated(mechanics()[1]),
    "Translation": lambda: lg.Translation(x),
    "UnitSymmetry": lambda: lg.UnitSymmetry(np.eye(3), [lg.Block("w", unit_axis=0)], 1),
    "Variational": lambda: lg.Variational(0.1),
    "Verification": verified,
}

WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def public_nouns():
    for name in lg.__all__:
        thing = getattr(lg, name)
        is_error = inspect.isclass(thing) and issubclass(thing, Exception)
        if inspect.isclass(thing) and not is_error and thing is not lg.Theory:
            yield name


def test_every_noun_is_here():
    assert sorted(public_nouns()) == sorted(NOUNS)


@pytest.mark.parametrize("name", NOUNS)
def test_a_noun_comes_back(name):
    thing = NOUNS[name]()
    for way, again in ((way, WAYS[way](thing)) for way in WAYS):
        assert type(again) is type(thing), way
        assert described(again) == described(thing), way
        if isinstance(thing, ByContent | sp.Basic):
            assert again == thing, way
        arrays = {n: a for n, a in vars_of(thing).items() if isinstance(a, np.ndarray)}
        for array in arrays:
            np.testing.assert_array_equal(arrays[array], vars_of(again)[array])


def described(thing):
    """Without addresses; what has no words of its own is its content by name."""
    words = f"{thing!r} {thing!s}"
    if " at 0x" in words and not isinstance(thing, lg.Rule):
        words += str(sorted(vars_of(thing)))
    return re.sub(" at 0x[0-9a-f]+", "", words)


def vars_of(thing):
    return getattr(thing, "__dict__", {})


# ------------------------------------------------------------------ at a prompt

#: Lines, of a terminal of 88 columns, that anything takes.
MOST_LINES, COLUMNS = 12, 88


def lines_of(text):
    return sum(max(1, -(-len(line) // COLUMNS)) for line in text.splitlines())


@cache
def chain():
    """Sixteen links, whose kinetic energy alone has 874 operations."""
    return lg.systems.make_system("n-pendulum", {"links": 16})


def large(noun):
    system = chain().lagrangian
    return {
        "System": chain,
        "Lagrangian": lambda: system,
        "Law": lambda: lg.noether(system, lg.TimeTranslation()),
        "HigherOrderLagrangian": lambda: lg.HigherOrderLagrangian(system.undamped),
        "Flow": lambda: lg.lower(system, chain().parameters),
    }[noun]()


def check_is_short(thing, most=MOST_LINES):
    for text in (repr(thing), str(thing)):
        assert text and lines_of(text) <= most, text
        assert "0x" not in text
    for way in ("_repr_html_", "_repr_latex_", "_repr_markdown_"):
        if hasattr(type(thing), way):
            assert len(getattr(thing, way)()) < 5000


@pytest.mark.parametrize("name", NOUNS)
def test_a_noun_is_short_at_a_prompt(name):
    # A table of words, and a list of symmetries, may wrap and take more.
    most = {"Symmetries": 16, "Verification": 20, "Report": 16, "Rule": 20}
    check_is_short(NOUNS[name](), most.get(name, MOST_LINES))


@pytest.mark.parametrize(
    "noun", ["System", "Lagrangian", "Law", "HigherOrderLagrangian", "Flow"]
)
def test_a_large_noun_is_cut(noun):
    thing = large(noun)
    check_is_short(thing, most=10)
    if noun != "Flow":
        assert re.search(r"\.\.\. \([\d,]+ operations\)", repr(thing))


def names_said(text):
    """The attributes in the last line of a repr."""
    return re.findall(r"`\.(\w+)", text.splitlines()[-1])


@pytest.mark.parametrize("name", NOUNS)
def test_the_next_step_that_a_noun_says_is_there(name):
    thing = NOUNS[name]()
    if isinstance(thing, AtPrompt):
        offered = dir(thing)
        assert "next: `" in repr(thing)
        for step in names_said(repr(thing)):
            assert hasattr(thing, step) and step in offered, step


@pytest.mark.parametrize("name", NOUNS)
def test_completion_offers_what_is_the_users(name):
    thing = NOUNS[name]()
    if isinstance(thing, AtPrompt):
        assert not {*thing._engine, "tree_flatten"} & set(dir(thing))


def test_completion_leaves_out_only_names_that_exist():
    """A name that the engine has lost would be left out for nothing."""
    for kind in {type(make()) for make in NOUNS.values()}:
        for noun in kind.__mro__:
            for name in vars(noun).get("_engine", ()):
                things = [m() for m in NOUNS.values()]
                assert any(hasattr(t, name) for t in things if isinstance(t, noun))


def test_numbers_along_a_path_do_not_flood_the_screen():
    system, flow, law = mechanics()
    path = flow.integrate([1.0, 0.0], [0.0, 1.0], (0, 1))
    for values in (path.charge(law), path.energy, path[x], path.accelerations):
        assert len(values) == 201 and lines_of(repr(values)) < 10
        again = np.asarray(values)
        np.testing.assert_array_equal(again, values)
        assert len(repr(again)) > len(repr(values))  # the control: NumPy's own
    assert isinstance(pickle.loads(pickle.dumps(path[x])), np.ndarray)


# ------------------------------------------------------------------ closures

SHAPES = {"bias": np.zeros(3, np.float32), "kernel": np.zeros((3, 3), np.float32)}
MASKED = optax.masked(optax.adam(1e-3), {"bias": False, "kernel": True})

#: Rules that are made of functions within functions.
CLOSURES = {
    "read": lambda: lg.rule(optax.sgd(0.1, momentum=0.9)),
    "chained": lambda: lg.rule(
        optax.chain(optax.clip_by_global_norm(1.0), optax.lion(1e-3))
    ),
    "masked": lambda: lg.rule(MASKED, SHAPES),
    "of a block": lambda: lg.rule(MASKED, SHAPES).of(lg.Block("kernel")),
    "schedule of optax": lambda: lg.HeavyBall(optax.cosine_decay_schedule(0.1, 10)),
    "schedule": lambda: lg.Adam(lambda step: 0.1 / (1 + step)),
}


def updates(rule):
    """Of two steps, on arrays of the shapes above."""
    transformation = rule.optax()
    state, out = transformation.init(SHAPES), []
    for size in (1.0, 2.0):
        gradient = {name: np.full_like(array, size) for name, array in SHAPES.items()}
        moved, state = transformation.update(gradient, state, SHAPES)
        out += [np.asarray(array) for array in moved.values()]
    return out


@pytest.mark.parametrize("way", ["pickle", "cloudpickle"])
@pytest.mark.parametrize("name", CLOSURES)
def test_a_rule_of_closures_comes_back(name, way):
    rule = CLOSURES[name]()
    again = WAYS[way](rule)
    assert type(again) is type(rule)
    assert described(again) == described(rule)
    for one, other in zip(updates(again), updates(rule), strict=True):
        np.testing.assert_array_equal(one, other)
    assert copy.copy(rule) is rule and copy.deepcopy(rule) is rule


def test_without_cloudpickle_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    for name in ("read", "schedule"):
        said = "pickle cannot find by a name.*pip install cloudpickle"
        with pytest.raises(pickle.PicklingError, match=said):
            pickle.dumps(CLOSURES[name]())
    assert WAYS["pickle"](RULE) == RULE  # which has none


def test_what_neither_can_pickle_is_named():
    lock = threading.Lock()
    rule = lg.HeavyBall(lambda step: 0.1 if lock else 0.0)
    with pytest.raises(pickle.PicklingError, match="lock.*Make it anew"):
        pickle.dumps(rule)


@pytest.mark.slow
def test_joblib_takes_functions_of_any_kind():
    """Losses, schedules, models and what is asked of them, none of which has a name."""
    flow = lg.lower(
        lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, lg.Loss("f", w)),
        losses={"f": lambda w: (w**2).sum()},
    )
    start = {"w": np.ones(3)}, {"w": np.zeros(3)}, (0, 1)
    run = trained()[1]
    rules = [make() for make in CLOSURES.values()]
    with loky.ProcessPoolExecutor(1) as pool:
        path = pool.submit(lambda: flow.integrate(*start))
        many = pool.submit(lambda: [updates(rule) for rule in rules])
        report = pool.submit(lambda: str(lg.check(run, [trained()[0]])))
        ours = flow.integrate(*start)
        np.testing.assert_array_equal(path.result(300).q["w"], ours.q["w"])
        for rule, theirs in zip(rules, many.result(300), strict=True):
            for one, other in zip(updates(rule), theirs, strict=True):
                np.testing.assert_array_equal(one, other)
        assert report.result(300) == str(lg.check(run, [trained()[0]]))
