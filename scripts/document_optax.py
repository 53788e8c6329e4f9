"""Write docs/optax.md: the kinetic energies of optax, read from its own code.

python scripts/document_optax.py

Every function of `optax` and `optax.contrib` that makes a transformation has a row.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

import lagrangian as lg
from lagrangian.files import write_atomically
from lagrangian.learning.rules.read.describe import groups, kept_names, kinetic_latex
from lagrangian.learning.rules.read.symmetries import symmetries_of

PAGE = Path(__file__).parents[1] / "docs" / "optax.md"

#: What is handed to a parameter of this name.
_BY_NAME: dict[str, Any] = {
    "learning_rate": 0.01,
    "decay": 0.9,
    "max_norm": 1.0,
    "max_delta": 1.0,
    "threshold": 1.0,
    "clipping": 0.1,
    "step_size": -0.01,
    "step_size_fn": optax.linear_schedule(-0.1, -0.01, 100),
    "max_consecutive_errors": 3,
    "max_backtracking_steps": 5,
    "max_linesearch_steps": 5,
    "noise_multiplier": 0.1,
    "l2_norm_clip": 1.0,
    "seed": 0,
    "eta": 0.01,
    "gamma": 0.55,
    "key": 0,
}


def _momentum() -> Any:
    return optax.sgd(0.01, momentum=0.9)


def _kernels(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.ndim(x) > 1, tree)


def _labels(tree: Any) -> Any:
    return jax.tree.map(lambda x: "kernels" if jnp.ndim(x) > 1 else "others", tree)


#: What is made in another way than by the names of its parameters.
_MADE: dict[str, Callable[[], Any]] = {
    "apply_if_finite": lambda: optax.apply_if_finite(_momentum(), 3),
    "chain": lambda: optax.chain(optax.clip(1.0), _momentum()),
    "conditionally_mask": lambda: optax.conditionally_mask(
        _momentum(), lambda step: step % 2 == 0
    ),
    "conditionally_transform": lambda: optax.conditionally_transform(
        _momentum(), lambda step: step % 2 == 0
    ),
    "flatten": lambda: optax.flatten(_momentum()),
    "freeze": lambda: optax.chain(optax.freeze(_kernels), _momentum()),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(0.01),
    "inject_stateful_hyperparams": lambda: optax.inject_stateful_hyperparams(
        optax.adam
    )(0.01),
    "masked": lambda: optax.chain(
        optax.masked(optax.add_decayed_weights(0.01), _kernels), _momentum()
    ),
    "measure_with_ema": lambda: optax.measure_with_ema(
        lambda updates, *_, **__: optax.global_norm(updates), 0.9
    ),
    "multi_transform": lambda: optax.multi_transform(
        {"kernels": optax.adam(0.01), "others": _momentum()}, _labels
    ),
    "partition": lambda: optax.partition(
        {"kernels": optax.adam(0.01), "others": _momentum()}, _labels
    ),
    "named_chain": lambda: optax.named_chain(("ball", _momentum())),
    "selective_transform": lambda: optax.selective_transform(
        _momentum(), freeze_mask=_kernels
    ),
    "snapshot": lambda: optax.snapshot(
        "norm", lambda u, *_, **__: optax.global_norm(u)
    ),
    "stateless": lambda: optax.stateless(
        lambda updates, _: jax.tree.map(lambda u: -0.01 * jnp.tanh(u), updates)
    ),
    "stateless_with_tree_map": lambda: optax.stateless_with_tree_map(
        lambda u, _: -0.01 * jnp.arcsinh(u)
    ),
    "with_extra_args_support": lambda: optax.with_extra_args_support(_momentum()),
    "MultiSteps": lambda: optax.MultiSteps(_momentum(), 4),
    "mechanize": lambda: contrib.mechanize(_momentum()),
    "sam": lambda: contrib.sam(
        optax.sgd(0.01), optax.chain(contrib.normalize(), optax.sgd(0.05))
    ),
    "schedule_free": lambda: contrib.schedule_free(optax.sgd(0.01), 0.01),
    "split_real_and_imaginary": lambda: contrib.split_real_and_imaginary(_momentum()),
    "add_decayed_weights": lambda: optax.add_decayed_weights(0.01),
    "apply_every": lambda: optax.apply_every(4),
    "skip_not_finite": lambda: optax.MultiSteps(
        _momentum(), 1, should_skip_update_fn=optax.skip_not_finite
    ),
}

#: Those that cannot be read, and why.
REFUSED: dict[str, str] = {
    "lookahead": "its parameters are a pair, slow and fast, in an `optax` class",
    "scale_by_muon": "it takes matrices alone; `contrib.muon` is read",
    "measure_with_ema": "it measures updates, and returns none",
    "differentially_private_aggregate": "it needs the gradient of every example",
    "dpsgd": "it needs the gradient of every example",
}


def names() -> list[tuple[str, Callable[..., Any]]]:
    """All functions that make a transformation, by name, from the installed optax."""
    found: dict[str, Callable[..., Any]] = {}
    for module in (optax, contrib):
        for name in sorted(dir(module)):
            make = getattr(module, name)
            if name.startswith("_") or not callable(make):
                continue
            if name == "MultiSteps":
                found[name] = make
            if inspect.isclass(make):
                continue
            try:
                returned = inspect.signature(make).return_annotation
            except (TypeError, ValueError):
                continue
            if "GradientTransformation" in str(returned):
                prefix = "contrib." if module is contrib else ""
                found.setdefault(f"{prefix}{name}", make)
    return list(found.items())


def transformation(name: str, make: Callable[..., Any]) -> Any:
    """One of `names`, with arguments where it needs them.

    Raises:
        KeyError: it has a parameter for which nothing is listed here.
    """
    made = _made(name, make)
    return optax.chain(made, optax.scale(-0.01)) if is_piece(name) else made


#: Transformations that are one part of a rule: without a rate they go uphill.
_PIECES = (
    "adaptive_grad_clip add_decayed_weights add_noise apply_every centralize clip "
    "clip_by_block_rms clip_by_global_norm ema identity keep_params_nonnegative "
    "normalize normalize_by_update_norm reduce_on_plateau snapshot trace zero_nans"
).split()


def is_piece(name: str) -> bool:
    """Whether it is a part of a rule, to be chained with a learning rate."""
    short = name.removeprefix("contrib.")
    if short in ("scale_by_learning_rate", "scale_by_schedule", "scale_by_rprop"):
        return False
    if short in ("scale_by_cocob", "scale_by_madgrad") or "search" in short:
        return False
    return short in _PIECES or short.startswith("scale_by_")


def _made(name: str, make: Callable[..., Any]) -> Any:
    short = name.removeprefix("contrib.")
    if short in _MADE:
        return _MADE[short]()
    needed = {
        p.name: _BY_NAME[p.name]
        for p in inspect.signature(make).parameters.values()
        if (p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        or p.name == "learning_rate"
        or (p.name == "key" and p.default is None)
    }
    return make(**needed)


def section(name: str, rule: Any) -> str:
    """What is read of a transformation, as a part of the page."""
    formulas = [
        f"$$ {kinetic_latex(part, kind)} $$\n"
        for _, part, kind in groups(rule.reading, rule.kinds)
        if kinetic_latex(part, kind)
    ]
    text = "".join(f"{formula}\n" for formula in formulas)
    return f"## {name}\n\n{text}```text\n{rule!s}\n```\n"


def row(name: str, rule: Any) -> str:
    """The same in a line of the table."""
    cells = []
    for leaves, part, kind in groups(rule.reading, rule.kinds):
        found = symmetries_of(part)
        kept = "-" if found is None else kept_names(found) or "none"
        whose = (
            f"{', '.join(leaves)}: " if len(rule.reading.parts) > len(leaves) else ""
        )
        cells.append((whose + kind.name, kind.reason, whose + kept))
    names, reasons, kept = zip(*cells, strict=True)
    reason = "; ".join(dict.fromkeys(r for r in reasons if r))
    return f"| {name} | {'; '.join(names)} | {'; '.join(kept)} | {reason} |"


PREAMBLE = f"""\
# The kinetic energies of optax

Written by `python scripts/document_optax.py` from the code of optax
{optax.__version__}: `lg.rule(tx)` reads each transformation, and what stands here is
derived from what was read, with a learning rate of 1/100 where one is asked for. What
is a part of a rule only (`scale_by_adam`, `clip`) is chained with `optax.scale(-0.01)`.

g is the gradient of an element, q the element, k the number of the step from zero, v
the velocity in the time t = sum of learning rates; a prime is the value after the step.
`sum(g**2; tree)` is one number for the whole tree, `sum(g**2)` one for each array. The
kinds: *euclidean*, linear in the gradients of the past; *metric*, linear with averages
held fixed; *convex*, T being the Legendre transform of a function of the covector;
*none*; *opaque*, without a symbolic form. A symmetry is kept if the update commutes
with it. The exact discrete law holds for every one of them.

"""


def page() -> str:
    rows, sections = [], []
    for name, make in names():
        if name.removeprefix("contrib.") in REFUSED:
            reason = REFUSED[name.removeprefix("contrib.")]
            rows.append(f"| {name} | refused | - | {reason} |")
            continue
        print(name)
        rule = lg.rule(transformation(name, make))
        rows.append(row(name, rule))
        sections.append(section(name, rule))
    head = [
        "| transformation | kinetic energy | keeps | why none |",
        "| --- " * 4 + "|",
    ]
    return PREAMBLE + "\n".join([*head, *rows]) + "\n\n" + "\n".join(sections)


def main() -> None:
    warnings.simplefilter("ignore")
    text = page()
    write_atomically(PAGE, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
