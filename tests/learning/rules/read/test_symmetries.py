"""The symmetries that an update is said to keep, against the update itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import lagrangian as lg
from lagrangian.learning.rules.read.symmetries import NAMES, symmetries_of

ANGLE = 0.7
TURN = np.array(
    [[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]], dtype=float
)
SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])
#: What each does to the kernel, and to its gradient.
MAPS = {
    "scale": (lambda q: 3 * q, lambda g: g / 3),
    "rotation": (lambda q: TURN @ q, lambda g: TURN @ g),
    "permutation": (lambda q: SWAP @ q, lambda g: SWAP @ g),
    "translation": (lambda q: q + 1, lambda g: g),
}
RULES = {
    "sgd": optax.sgd(0.1, 0.9, nesterov=True),
    "decay": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1)),
    "adamw": optax.adamw(0.1),
    "adam without eps": optax.adam(0.1, eps=0.0),
    "lion": optax.lion(0.1, weight_decay=0.0),
    "lars": optax.lars(0.1, weight_decay=0.0),
    "lamb": optax.lamb(0.1, eps=0.0, weight_decay=0.0),
    "global norm": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)),
    "block rms": optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(0.1)),
    "adafactor": optax.adafactor(0.1, eps=0.1),
    "novograd": optax.novograd(0.1),
    "polyak": optax.polyak_sgd(),
    "dog": optax.scale_by_distance_over_gradients(),
    "schedule-free": contrib.schedule_free_sgd(0.1),
}


def moves(rule, kernel, gradients, map_q, map_g):
    """The updates of the kernel under given gradients, in float64."""
    tx = rule.optax()
    q = {"bias": jnp.ones(2), "kernel": map_q(kernel)}
    state, found = tx.init(q), []
    extra = {"value": 1.5} if "value" in rule.reading.traced.extra else {}
    for gradient in gradients:
        told = {"bias": jnp.ones(2), "kernel": map_g(gradient)}
        updates, state = tx.update(told, state, q, **extra)
        q = optax.apply_updates(q, updates)
        found.append(updates)
    return found


@pytest.mark.parametrize("name", RULES)
def test_what_it_keeps(name):
    rule = lg.rule(RULES[name])
    said = symmetries_of(rule.reading.parts["kernel"])
    generator = np.random.default_rng(2)
    kernel, *gradients = generator.normal(size=(4, 2, 2))
    found = {}
    with jax.enable_x64(True):
        plain = moves(rule, kernel, gradients, lambda q: q, lambda g: g)
        for symmetry, (map_q, map_g) in MAPS.items():
            # What a displacement becomes: a translation leaves it alone.
            turned = (lambda u: u) if symmetry == "translation" else map_q
            mapped = moves(rule, kernel, gradients, map_q, map_g)
            found[symmetry] = all(
                np.allclose(b["kernel"], turned(a["kernel"]), rtol=1e-9, atol=1e-12)
                and np.allclose(b["bias"], a["bias"], rtol=1e-9, atol=1e-12)
                for a, b in zip(plain, mapped, strict=True)
            )
    told = {n: said[n].holds for n in MAPS}
    for symmetry in NAMES:
        if said[symmetry].reason.startswith("not derived"):
            found.pop(symmetry), told.pop(symmetry)
    assert told == found


def test_what_breaks_it_is_named():
    """An epsilon that is large enough to be seen, and the decay."""
    adam = symmetries_of(lg.rule(optax.rmsprop(0.1, eps=0.5)).part)
    assert not adam["scale"].holds
    decayed = symmetries_of(lg.rule(RULES["decay"]).part)
    assert decayed["scale"].reason == "`-g/10` beside `-q/100`"
    trust = symmetries_of(lg.rule(RULES["lars"]).part)
    assert trust["scale"].holds and trust["rotation"].holds
