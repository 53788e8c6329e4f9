"""The charges of all members of a family at once, against one after the other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.learning.discover.discovery import discover
from lagrangian.learning.discover.members import MOST_CHARGES
from lagrangian.lowering.bilinear import evaluated
from lagrangian.lowering.families import Family

from . import architectures, written

RULES = {
    "heavy ball": lg.HeavyBall(learning_rate=0.02, momentum=0.9, weight_decay=2e-2),
    "Nesterov": lg.HeavyBall(0.02, momentum=0.9, nesterov=True),
    "AdamW": lg.Adam(1e-3, weight_decay=1e-2),
}


def linear(inputs=6, hidden=3, outputs=4):
    """Two linear layers with biases: GL(hidden), and shifts that a bias takes back."""

    def forward(p, x):
        return (x @ p["a"] + p["a_bias"]) @ p["b"] + p["b_bias"]

    sizes = {"a": (inputs, hidden), "b": (hidden, outputs)}
    parameters = written.arrays(**sizes, a_bias=(hidden,), b_bias=(outputs,))
    x = written.numbers(64, inputs)
    return written.regression(forward, parameters, x, (64, outputs))


CASES = {
    "heads in one kernel, with biases": lambda: written.attention("fused", True),
    "positions": lambda: written.positions(True),
    "rotary": lambda: written.attention("matrices", False, "halves", 1, 1, 4),
    "tied": written.tied_autoencoder,
    "unfused": lambda: written.attention("matrices", True),
    "grouped queries": lambda: written.attention("matrices", False, None, 4, 2, 2),
    "gate and up in one": lambda: written.gated(True),
    "phases": written.phases,
    "LSTM": architectures.lstm,
    "Mamba": architectures.mamba,
    "linear": linear,
    # More charges than are observed one by one: between fewer vectors.
    "wide": lambda: linear(60, 50, 60),
}
FAST = {"heads in one kernel, with biases", "wide"}
MARKED = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in CASES]


def in_double(case):
    model = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), case.parameters)
    return model, jax.tree.map(
        lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, case.batch
    )


def singly(symmetry, m):
    """The symmetry of one member alone, with functions that know nothing of others."""
    names = {a: lg.LinearMap(f"{a.name} alone {m}", a.parity) for a in symmetry.maps}
    xi = {
        q: direction.xreplace(names) if hasattr(direction, "xreplace") else direction
        for q, direction in symmetry.xi.items()
    }
    maps = {}
    for a, alone in names.items():
        maps[alone] = lambda array, a=a: symmetry.maps[a].member(m)(array)
        if domain := getattr(symmetry.maps[a], "domain", ()):
            maps[alone] = Alone(maps[alone], domain)
    return lg.Symmetry(xi, name=f"{symmetry.name} {m}"), maps


class Alone:
    def __init__(self, function, domain):
        self.function, self.domain = function, domain

    def __call__(self, array):
        return self.function(array)


def check_members(case, rule):
    with jax.enable_x64(True):
        model, batch = in_double(case)
    families = [s for s in discover(*case) if s.maps]
    assert families
    alone, maps, chosen = {}, {}, np.random.default_rng(0)
    for symmetry in families:
        count = math.prod(next(iter(symmetry.maps.values())).shape)
        for m in chosen.choice(count, min(3, count), replace=False):
            single, own = singly(symmetry, int(m))
            alone[single] = symmetry, int(m)
            maps |= own
    run = lg.train(
        *(model, case.loss, batch, rule, 12),
        observe=[*families, *alone],
        maps=maps,
        batch_size=16,
        progress=False,
    )
    for single, (symmetry, m) in alone.items():
        one, all_of_them = run[single], run[symmetry]
        for name in one.names:
            want, got = np.ravel(getattr(one, name)), getattr(all_of_them, name)
            got = got.reshape(len(got), -1)[:, m] if got.ndim > 1 else got
            size = np.abs(one.scale).max() if name == "discrete" else np.abs(want).max()
            np.testing.assert_allclose(
                got,
                want,
                rtol=1e-9,
                atol=1e-11 * size + 1e-15,
                err_msg=f"{symmetry} {name}",
            )
    for row in lg.check(run, families):
        assert row.discrete < 1e-12, row


@pytest.mark.parametrize("name", MARKED)
def test_products_with_all_members_are_those_with_each(name):
    case = CASES[name]()
    discovery, chance = discover(*case), np.random.default_rng(0)
    families = [f for s in discovery for f in s.maps.values()]
    assert families
    with jax.enable_x64(True):
        for family in families:
            assert (
                isinstance(family, Family) and math.prod(family.shape) <= MOST_CHARGES
            )
            x, y = (jnp.asarray(chance.normal(size=family.domain)) for _ in range(2))
            moved = jnp.asarray(chance.normal(size=family(y).shape))
            paired, squared = family.paired(moved, y), family.squared(x, y)
            as_data = {
                how: evaluated([(form, left, y)]).reshape(form.shape)
                for how, left in (("paired", moved), ("squared", x))
                if (form := family.bilinear(how)) is not None
            }
            for m in chance.integers(paired.size, size=5):
                one = family.member(int(m))
                for got, left in (
                    (paired, moved),
                    (squared, one(x)),
                    (as_data.get("paired"), moved),
                    (as_data.get("squared"), one(x)),
                ):
                    # Where two terms move the same entries, or what would be data is
                    # large.
                    if got is None:
                        continue
                    assert got.shape == family.shape
                    want = jnp.sum(left * one(y))
                    np.testing.assert_allclose(got.ravel()[m], want, 1e-10, 1e-13)


def test_the_charges_of_a_linear_pair_are_its_matrix():
    """P = W1^T W1 - W2 W2^T, with the bias, in every step; J of the momenta."""
    case, rule = linear(), RULES["heavy ball"]
    with jax.enable_x64(True):
        model, batch = in_double(case)
    found = {s.name: s for s in discover(*case)}
    mixing, turning = found["general linear (symmetric)"], found["rotation"]
    run = lg.train(
        *(model, case.loss, batch, rule, 30),
        observe=[mixing, turning, found["rescale"]],
        batch_size=16,
        progress=False,
    )
    matrices = run[mixing].quantity
    a, b = np.vstack([model["a"], model["a_bias"]]), np.asarray(model["b"])
    start = a.T @ a - b @ b.T
    sign = np.sign(matrices[0, 0, 0] * start[0, 0])
    assert matrices.shape == (30, 3, 3)
    np.testing.assert_allclose(sign * matrices[0], start, rtol=1e-12)
    # Its diagonal is what the row of rescales observes.
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    rescales = run[found["rescale"]].quantity
    np.testing.assert_allclose(np.abs(diagonal), np.abs(rescales), rtol=1e-10)
    momenta = run[turning].quantity
    np.testing.assert_array_equal(momenta, -np.swapaxes(momenta, 1, 2))
    for row in lg.check(run):
        assert row.holds and row.discrete < 1e-13, row
    (row,) = lg.check(run, [mixing])
    assert row.units == 9 and "worst of 3 x 3 charges, entry (" in row.reason


@pytest.mark.parametrize("control", ["bias left out", "temperature"])
def test_a_broken_group_is_found_out_in_every_member(control):
    """Controls: as much of a law as is left when a hypothesis of it is not given."""
    if control == "bias left out":
        case = linear()
        whole = next(s for s in discover(*case) if s.name == "rotation")
        xi = {q: d for q, d in whole.xi.items() if q.name != "a_bias"}
        symmetry, loss = lg.Symmetry(xi, name="rotation"), case.loss
    else:
        case = written.attention("matrices")
        symmetry = whole = next(
            s
            for s in discover(*case)
            # A rotation keeps the length of a query.
            if s.name == "general linear (symmetric)" and {*map(str, s.xi)} == {*"qk"}
        )
        loss = written.attention("matrices", cosine=True).loss
    with jax.enable_x64(True):
        model, batch = in_double(case)
    run = lg.train(
        *(model, loss, batch, RULES["heavy ball"], 30),
        observe=[symmetry],
        maps=whole.maps,
        batch_size=16,
        progress=False,
    )
    (row,) = lg.check(run)
    assert row.verdict == "symmetry absent" and row.balance < 1e-13, row
    off = ~np.eye(run[symmetry].quantity.shape[-1], dtype=bool)
    residual, scale = run[symmetry].discrete, run[symmetry].scale
    worst = np.abs(residual / np.where(off, scale, 1.0)).max(axis=0)
    assert (worst[..., off] > 1e-5).all()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", CASES)
def test_a_run_with_all_members_is_that_with_each(name, rule):
    check_members(CASES[name](), RULES[rule])
