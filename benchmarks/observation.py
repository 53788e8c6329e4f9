"""What it costs to observe the laws of a training run.

One process, one table: the same network trained by `lg.train` without and with laws
observed, by a Python loop over a jitted step, and by that loop with the norms taken on
the host after every step, as scripts of the field do; then the loop that the Flax
documentation writes, with `nnx.jit` and an `nnx.Optimizer`, without and with
`lg.observed` around its transformation. Variants take turns, and each reports the
fastest of its rounds, and the loops of Flax their median, too, so that a busy machine
slows all alike. At last, how long a run takes to begin: a small transformer with all
the laws that `lg.discover` finds of it.

    python benchmarks/observation.py [loops]     # the loops of Flax alone
"""

from __future__ import annotations

import platform
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import lagrangian as lg

STEPS, BATCH = 600, 256
#: Rounds of the loops of Flax, of a tenth of a second each: XLA's threads and Python
#: share two cores, and one round differs from the next by more than observing costs.
FLAX_ROUNDS = 80
#: Steps of the long and the short run, for the small network and for the main job's.
#: The time of compiling, which their difference takes off, varies by a tenth of a
#: second: the long run is long enough to make that 1 % of a step.
LONG, SHORT = 40_050, 50
LONG_DEMO = 6_050
#: Rounds of these runs, of seconds each.
LONG_ROUNDS = 4


class Network(nnx.Module):
    """16-64-64-4 with BatchNorm after both hidden layers."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense1 = nnx.Linear(16, 64, use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(64, rngs=rngs)
        self.dense2 = nnx.Linear(64, 64, use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(64, rngs=rngs)
        self.out = nnx.Linear(64, 4, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm1(self.dense1(x)))
        return self.out(nnx.relu(self.norm2(self.dense2(x))))


def loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def laws(rule):
    symmetries = [
        lg.Scale("dense1.kernel", unit_axis=-1),
        lg.Scale("dense2.kernel", unit_axis=-1),
        lg.Translation("out.kernel", unit_axis=0),
        lg.Translation("out.bias"),
    ]
    return [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]


def looped(data, rule, norms_on_host):
    """A Python loop over a jitted step, warmed up."""
    model = Network(nnx.Rngs(0))
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    transformation = rule.optax()

    @jax.jit
    def step(parameters, rest, state, batch):
        def value(parameters):
            model = nnx.merge(graph, parameters, rest, copy=True)
            return loss(model, batch), nnx.split(model, nnx.Param, ...)[2]

        (_, new_rest), gradient = jax.value_and_grad(value, has_aux=True)(parameters)
        updates, state = transformation.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), new_rest, state

    state = transformation.init(parameters)
    x, y = map(jnp.asarray, data)
    generator = np.random.default_rng(0)
    norms = []

    def run():
        nonlocal parameters, rest, state
        for _ in range(STEPS):
            rows = generator.integers(0, len(x), BATCH)
            parameters, rest, state = step(parameters, rest, state, (x[rows], y[rows]))
            if norms_on_host:
                norms.append(
                    [float(jnp.sum(p**2)) for p in jax.tree.leaves(parameters)]
                )
        jax.block_until_ready(parameters)

    run()
    return run


def flax_loop(make, loss, data, tx, steps, batch, every=None, read=None):
    """The training loop of the Flax documentation, warmed up.

    Every so many steps the run is taken out, or the loss is read, as for a log: which
    alone makes Python wait for the steps that it is ahead.
    """
    model = make(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    arrays = tuple(map(jnp.asarray, data))
    count = len(arrays[0]) // batch
    batches = [
        tuple(a[k * batch : (k + 1) * batch] for a in arrays) for k in range(count)
    ]

    @nnx.jit
    def train_step(model, optimizer, batch):
        value, gradient = nnx.value_and_grad(loss)(model, batch)
        optimizer.update(model, gradient, value=value)
        return value

    def run():
        taken = None
        for k in range(steps):
            value = train_step(model, optimizer, batches[k % count])
            if read and k % read == read - 1:
                float(value)
            if every and k % every == every - 1:
                taken = lg.recorded(optimizer, model, after=taken)
                # The next round begins anew.
                taken = None if k == steps - 1 else taken
        jax.block_until_ready(nnx.state(model))

    run()
    return run


def flax_table(title, make, loss, data, rule, laws, steps, batch, every):
    started = make, loss, data
    bare, watched = rule.optax(), lg.observed(rule, laws)
    drained = lg.observed(rule, laws, capacity=every)
    loops = {
        "nothing observed": flax_loop(*started, bare, steps, batch),
        "four laws observed": flax_loop(*started, watched, steps, batch),
        f"nothing observed, the loss read every {every} steps": flax_loop(
            *started, bare, steps, batch, read=every
        ),
        f"four laws observed, and taken out every {every} steps": flax_loop(
            *started, drained, steps, batch, every
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for turn in range(FLAX_ROUNDS):
        # Whoever comes after the one that waits for its drains begins colder.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(timed(loops[name]) / steps)
    print(
        f"\n{title}, {FLAX_ROUNDS} rounds\n\n| variant | us per step: fastest and "
        "median round | relative, fastest | relative, median |\n"
        "| --- | --- | --- | --- |"
    )
    for name in loops:
        shown = [
            (of(times[name]), of(times["nothing observed"])) for of in (min, np.median)
        ]
        (fastest, median), (low, middle) = zip(*shown, strict=True)
        print(
            f"| {name} | {1e6 * fastest:.0f}, {1e6 * median:.0f} | {fastest / low:.3f} "
            f"| {median / middle:.3f} |"
        )


def beginning() -> None:
    """What a run of ten steps takes, nearly all of it deriving and compiling."""
    from lagrangian.networks.digits import cross_entropy
    from lagrangian.networks.networks import Transformer

    model = Transformer(
        nnx.Rngs(0), vocabulary=5, length=4, width=4, heads=2, hidden=6, blocks=1
    )
    generator = np.random.default_rng(0)
    batch = tuple(generator.integers(0, 5, (32, 4)) for _ in range(2))
    rule = lg.HeavyBall(0.01, momentum=0.9, weight_decay=1e-3)
    found = list(lg.discover(model, cross_entropy, batch))
    print("\nThe beginning: a transformer of 269 parameters, 10 steps\n")
    print("| laws | CPU seconds |\n| --- | --- |")
    # The first run also loads what all runs need.
    for observed in ([], [], found):
        jax.clear_caches()
        start = time.process_time()
        lg.train(
            *(model, cross_entropy, batch, rule, 10),
            observe=observed,
            batch_size=16,
            progress=False,
        )
        print(f"| {len(observed)} | {time.process_time() - start:.2f} |")


def main(only_loops: bool = False) -> None:
    generator = np.random.default_rng(0)
    data = (
        generator.normal(size=(4096, 16)).astype(np.float32),
        generator.integers(0, 4, 4096),
    )
    rule = lg.HeavyBall(0.05, 0.9, 5e-4)
    observed = laws(rule)
    if only_loops:
        flax_tables(data, rule, observed)
        return

    # `train` compiles in every call, so its time a step is that of long runs minus that
    # of short ones: the fastest of each, since a difference of noisy times is noise.
    timers = {
        "lg.train, nothing observed": (
            trained(data, rule, [], LONG),
            trained(data, rule, [], SHORT),
        ),
        "lg.train, four laws observed": (
            trained(data, rule, observed, LONG),
            trained(data, rule, observed, SHORT),
        ),
        "Python loop over a jitted step": (looped(data, rule, False),),
        "Python loop, norms on the host": (looped(data, rule, True),),
    }
    fastest = {name: [np.inf] * len(pair) for name, pair in timers.items()}
    for _ in range(LONG_ROUNDS):
        for name, pair in timers.items():
            fastest[name] = [
                min(t, timed(run)) for t, run in zip(fastest[name], pair, strict=True)
            ]
    best = {
        name: (times[0] - times[1]) / (LONG - SHORT)
        if len(times) == 2
        else times[0] / STEPS
        for name, times in fastest.items()
    }
    reference = best["lg.train, nothing observed"]
    demo = {}
    for name, laws_observed in (("nothing", []), ("four laws", demo_laws(rule))):
        demo[name] = [demo_run(rule, laws_observed, n) for n in (LONG_DEMO, SHORT)]
    times = {name: [np.inf, np.inf] for name in demo}
    for _ in range(LONG_ROUNDS):
        for name, pair in demo.items():
            times[name] = [
                min(t, timed(run)) for t, run in zip(times[name], pair, strict=True)
            ]
    per_step = {n: (a - b) / (LONG_DEMO - SHORT) for n, (a, b) in times.items()}
    print(
        f"MLP 16-64-64-4 with BatchNorm, batch {BATCH}, float32; "
        f"{jax.default_backend()}, Python {platform.python_version()}, "
        f"jax {jax.__version__}\n"
    )
    print("| variant | us per step | relative |\n| --- | --- | --- |")
    for name, seconds in best.items():
        print(f"| {name} | {1e6 * seconds:.0f} | {seconds / reference:.2f} |")
    print("\nThe main job's convolutional network, digits, batch 64, float32\n")
    print("| variant | us per step | relative |\n| --- | --- | --- |")
    for name, seconds in per_step.items():
        share = seconds / per_step["nothing"]
        print(f"| lg.train, {name} observed | {1e6 * seconds:.0f} | {share:.2f} |")
    flax_tables(data, rule, observed)
    beginning()


def flax_tables(data, rule, observed):
    from lagrangian.networks.digits import (
        ConvolutionalNetwork,
        cross_entropy,
        load_digits,
    )

    flax_table(
        f"The small network in the loop of the Flax documentation, batch {BATCH}",
        Network,
        loss,
        data,
        rule,
        observed,
        100,
        BATCH,
        50,
    )
    flax_table(
        "The main job's network in the loop of the Flax documentation, batch 64",
        ConvolutionalNetwork,
        cross_entropy,
        load_digits()[0],
        rule,
        demo_laws(rule),
        100,
        64,
        25,
    )


def demo_laws(rule):
    symmetries = [
        lg.Scale("conv1.kernel", unit_axis=-1),
        lg.Scale("conv2.kernel", unit_axis=-1),
        lg.Translation("dense.kernel", unit_axis=0),
        lg.Translation("dense.bias"),
    ]
    return [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]


def demo_run(rule, observe, steps):
    """A call of `lg.train` on the network and the data of the main job."""
    from lagrangian.networks.digits import (
        ConvolutionalNetwork,
        cross_entropy,
        load_digits,
    )

    data, _ = load_digits()
    return lambda: lg.train(
        ConvolutionalNetwork(nnx.Rngs(0)),
        cross_entropy,
        data,
        rule,
        steps,
        observe=observe,
        batch_size=64,
        progress=False,
    )


def timed(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def trained(data, rule, observe, steps):
    """A call of `lg.train`."""
    return lambda: lg.train(
        Network(nnx.Rngs(0)),
        loss,
        data,
        rule,
        steps,
        observe=observe,
        batch_size=BATCH,
        progress=False,
    )


if __name__ == "__main__":
    main(only_loops=sys.argv[1:] == ["loops"])
