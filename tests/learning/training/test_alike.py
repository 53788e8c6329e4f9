"""Laws that differ in names alone: derived once, and equal to what is derived apart."""

import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.learning.training.alike import renamed, renaming
from lagrangian.learning.training.groups import Rules
from lagrangian.learning.training.observe import Observation
from lagrangian.networks.digits import cross_entropy
from lagrangian.networks.networks import Transformer

RULES = [
    lg.HeavyBall(0.01, momentum=0.9, weight_decay=1e-3),
    lg.HeavyBall(0.01, momentum=0.9, nesterov=True),
    lg.Adam(0.01),
]


def laws_of(symmetries, rule):
    return [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]


@pytest.fixture(scope="module")
def found():
    model = Transformer(
        nnx.Rngs(0), vocabulary=3, length=3, width=4, heads=2, hidden=3, blocks=1
    )
    tokens = np.random.default_rng(0).integers(0, 3, (2, 16, 3))
    return lg.discover(model, cross_entropy, tuple(tokens))


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_law_of_a_transformer_says_what_it_says_alone(found, rule):
    laws = laws_of(found, rule)
    rules = Rules(rule)
    together = Observation(laws, rules)
    assert len(together._derived) < len(laws) / 2
    for law in laws:
        names = {s: p for p, s in together._after.items()}
        alone = Observation([law], rules)
        own = {s: p for p, s in alone._after.items()}
        for name, term in together.terms[law].items():
            assert term.xreplace(names) == alone.terms[law][name].xreplace(own), name


A, B = lg.LinearMap("A"), lg.LinearMap("B")
S = lg.LinearMap("S", parity=1)
w, v, u = lg.blocks("w v u")
#: A symmetry, one like it, and one that is not.
THREE = {
    "scale": (lg.Scale("w"), lg.Scale("v"), lg.Translation("v")),
    "rescale": (lg.Rescale("w", "v"), lg.Rescale("z", "a"), lg.Scale("w", "v")),
    "factor": (
        lg.Symmetry({w: w, v: -2 * v}),
        lg.Symmetry({v: v, u: -2 * u}),
        lg.Symmetry({v: v, u: -3 * u}),
    ),
    "map": (lg.Symmetry({w: A(w)}), lg.Symmetry({v: B(v)}), lg.Symmetry({v: S(v)})),
    "transpose": (
        lg.Symmetry({w: A(w), v: -A.T(v)}),
        lg.Symmetry({v: B(v), w: -B.T(w)}),
        lg.Symmetry({v: B(v), w: -B(w)}),
    ),
    "two maps": (
        lg.Symmetry({w: A(w), v: -A.T(v)}),
        lg.Symmetry({v: A(v), w: -A.T(w)}),
        lg.Symmetry({v: A(v), w: -B.T(w)}),
    ),
}


@pytest.mark.parametrize("kind", THREE)
def test_laws_are_alike_if_names_make_them_so(kind):
    one, like, unlike = laws_of(THREE[kind], RULES[0])
    names = renaming(one, like)
    said = {"charge": one.charge, "rate": one.rate}
    assert names
    assert renamed(said, names) == {"charge": like.charge, "rate": like.rate}
    assert renaming(one, unlike) is None


def test_another_rule_is_another_law():
    scale = lg.Scale("w")
    one, other = (laws_of([scale], rule)[0] for rule in RULES[:2])
    assert renaming(one, other) is None
