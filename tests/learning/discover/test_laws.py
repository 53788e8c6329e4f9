"""The laws of symmetries as public code has them, in discrete training; and words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.learning.discover.discovery import discover

from . import written

RULES = {
    "heavy ball": lg.HeavyBall(learning_rate=0.02, momentum=0.9, weight_decay=2e-2),
    "AdamW": lg.Adam(1e-3, weight_decay=1e-2),
}
QUICK = {
    "1 + scale": lambda: written.normalised(1.0),
    "phases": written.phases,
    "tied": written.tied_autoencoder,
}
SLOW = {
    "temperature": written.temperature,
    "fused with biases": lambda: written.attention("fused", True),
    "rotary": lambda: written.attention("matrices", False, "halves", 1, 1, 4),
    "grouped queries": lambda: written.attention("matrices", False, None, 4, 2, 2),
    "positions": lambda: written.positions(True),
    "gate and up in one": lambda: written.gated(True),
}


def check_laws(case, rule):
    discovery = discover(*case)
    with jax.enable_x64(True):
        model = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), case.parameters)
    batch = jax.tree.map(
        lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, case.batch
    )
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in discovery]
    run = lg.train(
        model, case.loss, batch, rule, 40, observe=laws, batch_size=16, progress=False
    )
    assert laws and all(np.ptp(run[law].quantity) > 0 for law in laws)
    for row in lg.check(run, laws):
        assert row.discrete < 1e-12 and row.holds, row


@pytest.mark.parametrize("name", QUICK)
def test_laws_are_exact_in_training(name):
    check_laws(QUICK[name](), RULES["heavy ball"])


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_laws_are_exact_for_every_rule(name, rule):
    check_laws({**QUICK, **SLOW}[name](), RULES[rule])


def test_a_row_is_explained_by_its_epsilon():
    discovery = discover(*written.batch_normalised())
    (epsilon, variance), *rest = discovery.roots
    assert not rest and epsilon == pytest.approx(1e-5) and 0.01 < variance < 10
    text = discovery.explain(discovery.approximate[0])
    assert "scale of Dense_0.kernel[..., k]: 5 generators" in text
    assert "without an epsilon: 1e-05 is added to what is about" in text
    exact = discovery.explain(0)
    assert "exact in discrete training" not in exact and "it is exact" in exact
    assert "rounds to float32" in exact


def test_an_activation_is_not_explained_by_an_epsilon():
    """Softplus with a sharp bend is nearly homogeneous."""
    chance = np.random.default_rng(0)
    p = {"a": chance.normal(size=(6, 4)), "b": chance.normal(size=(4, 3))}

    def loss(p, x):
        return jnp.mean((jax.nn.softplus(50 * x @ p["a"]) @ p["b"] / 50 - 1) ** 2)

    discovery = discover(p, loss, chance.normal(size=(32, 6)))
    (near,) = discovery.approximate
    assert 1e-4 < near.evidence.residual < 0.03 and near.evidence.generators == 4
    assert "nearly homogeneous" in discovery.explain(near)


def test_candidates_and_what_training_cuts_off_are_explained():
    case = written.frozen()
    false = lg.Scale("third")
    discovery = discover(*case, candidates=[false])
    (row,) = discovery.tested
    assert row.kind == "absent" and "no symmetry" in discovery.explain(row)
    assert "Its law holds in training" in discovery.explain(discovery.of_gradient[0])
    assert "does not hold in training" in discovery.explain(discovery.of_loss[0])


def test_a_candidate_has_its_law_and_what_it_leaves_out():
    """Each kind in words: exact, approximate and absent ones, matrices, refusals."""
    chance = np.random.default_rng(0)
    p = {"a": chance.normal(size=(6, 4)), "c": chance.normal(size=4)}
    p |= {"b": chance.normal(size=(4, 3))}
    x = chance.normal(size=(32, 6))

    def loss(p, x):
        return jnp.mean((jax.nn.relu(x @ p["a"] + p["c"]) @ p["b"] - 1) ** 2)

    units = lg.blocks("a", unit_axis=-1), lg.blocks("b", unit_axis=0)
    bias = lg.blocks("c", unit_axis=-1)
    named = {
        "whole": lg.Rescale([units[0], bias], units[1]),
        "bias left out": lg.Rescale(*units),
        "any matrix": lg.GeneralLinear("a", "b", lg.ConstantBlock("A")),
    }
    discovery = discover(p, loss, x, candidates=list(named.values()))
    rows = dict(zip(named, discovery.tested, strict=True))
    texts = {name: discovery.explain(row) for name, row in rows.items()}
    assert rows["whole"].kind == "exact" and "loss: 0" in texts["whole"]
    assert "charge: <a, a (trace)>" in texts["whole"]
    assert rows["bias left out"].kind == "absent"
    assert "There is one that moves c as well: rescale" in texts["bias left out"]
    assert "of which `loss` is no rounding" in texts["bias left out"]
    assert rows["any matrix"].kind == "absent"
    assert rows["any matrix"].generators == 16


@pytest.mark.parametrize("parity, count", [(0, 9), (1, 6), (-1, 3)])
def test_any_matrix_between_two_linear_layers(parity, count):
    chance = np.random.default_rng(0)
    p = {"a": chance.normal(size=(5, 3)), "b": chance.normal(size=(3, 4))}

    def loss(p, x):
        return jnp.mean((x @ p["a"] @ p["b"] - 1) ** 2)

    group = lg.GeneralLinear("a", "b", lg.ConstantBlock("A", parity=parity))
    x = chance.normal(size=(32, 5))
    (row,) = discover(p, loss, x, candidates=[group]).tested
    assert row.kind == "exact" and row.generators == count and row.defect < 1e-9
    direction = lg.Translation("a", lg.ConstantBlock("d"))
    with pytest.raises(lg.InvalidSymmetry, match="`d` in .* has no array here"):
        discover(p, loss, x, candidates=[direction])
    oblong = lg.Symmetry(
        {lg.blocks("a"): lg.matmul(lg.ConstantBlock("B", parity=1), lg.blocks("b"))}
    )
    with pytest.raises(lg.InvalidSymmetry, match="a parity, and the shape 5 x 3"):
        discover(p, loss, x, candidates=[oblong])
