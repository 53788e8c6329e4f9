"""Walks through the library with every annotation checked at run time.

Run by test_annotations.py in a process of its own, since the check must come first.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

#: Whole numbers are numbers.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def mechanics(lg, sp):
    a, b = lg.coordinates("a b")
    m, g = sp.symbols("m g", positive=True)
    kinetic = m * (2 * a.dot**2 + b.dot**2 + 2 * a.dot * b.dot * sp.cos(a - b)) / 2
    system = lg.Lagrangian(kinetic, -m * g * (2 * sp.cos(a) + sp.cos(b)))
    law = lg.noether(system, lg.TimeTranslation())
    assert law.is_conserved and lg.find_symmetries(system).found
    flow = lg.lower(system, {m: 1, g: 9.81})
    assert flow.integrate({a: 2, b: 1}, {a: 0, b: 0}, t=(0, 1)).energy_drift < 1e-9
    flow.integrate([2.0, 1.0], [0, 0], (0, 1), solver=lg.Variational(0.1), laws=[law])
    flow.section([2.0, 1.0], [0.0, 0.0], sp.sin(a), t=(0, 3))
    flow.ensemble([[2.0, 1.0]], [[0.0, 0.0]], (0, 1), progress=False)
    phi = lg.fields("phi", over="t x")
    wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    field = lg.lower(wave, interval=(0, 1), points=8)
    field.integrate({phi: 1.0}, {phi: 0.0}, t=(0, 1), points=3)


def learning(lg):
    import optax
    from flax import nnx

    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    rule = lg.HeavyBall(learning_rate=0.05, momentum=0.9, weight_decay=5e-3)
    scale = lg.Translation("bias", lg.ones)
    law = lg.noether(rule.lagrangian(scale.loss), scale)

    def loss(model, batch):
        out = model(batch)
        return ((out[:, 0] - out[:, 1]) ** 2).mean()

    data = np.array([[0.0, 1.0], [1.0, 0.5], [0.3, 0.2], [0.7, 0.1]], np.float32)
    run = lg.train(model, loss, data, rule, steps=6, observe=[law])
    assert lg.check(run, [law]).holds
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
    read = lg.train(
        model, loss, data, chain, 6, observe=[scale], callback=lg.check, every=3
    )
    assert lg.check(read).holds
    still = {"parameters/w": np.ones((4, 2)), "gradients/w": np.zeros((3, 2))}
    assert lg.check(lg.imported(still, [lg.Scale("w")], lg.HeavyBall(0.1))).holds


if __name__ == "__main__":
    import sys

    sys.modules["annotated"] = sys.modules["__main__"]
    with install_import_hook("lagrangian", "annotated.checked"):
        import numpy as np
        import sympy

        import lagrangian

        mechanics(lagrangian, sympy)
        learning(lagrangian)
        print("every annotation holds")
