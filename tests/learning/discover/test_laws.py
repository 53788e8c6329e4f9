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
    discovery = discover(*written.gated(False))
    near = [s for s in discovery.approximate if s.evidence.residual > 0.01]
    assert near and all("nearly homogeneous" in discovery.explain(s) for s in near)


def test_candidates_and_what_training_cuts_off_are_explained():
    case = written.frozen()
    false = lg.Scale("third")
    discovery = discover(*case, candidates=[false])
    (row,) = discovery.tested
    assert row.kind == "absent" and "no symmetry" in discovery.explain(row)
    assert "Its law holds in training" in discovery.explain(discovery.of_gradient[0])
    assert "does not hold in training" in discovery.explain(discovery.of_loss[0])
