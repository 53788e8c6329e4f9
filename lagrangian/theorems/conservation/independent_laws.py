"""How many independent laws gradient flow has: by closed forms, and by two counts.

From above, by where the flows of all losses together can go (the span of their
gradients and of the brackets of these, by Frobenius); from below, by the gradients of
what the laws conserve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.flatten_util import ravel_pytree

from lagrangian.learning.count_laws import (
    gradients,
    lie_closure,
    row_space,
    unit_rows,
)
from lagrangian.learning.discover.discovery import Discovery, discover
from lagrangian.learning.discover.to_symmetry import DiscoveredSymmetry
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.symmetry import Rescale
from lagrangian.theorems.conservation.conserved import SYMMETRIES, conserved, law_of
from lagrangian.theorems.testbeds.symmetric_networks import (
    all_symmetric,
    outputs_of_all,
    squared_error,
    start_of_all,
    two_layers,
)
from lagrangian.theorems.theorem import Claim, below, equal, identity

Outputs = Callable[[Mapping[str, Any]], Any]

#: One for each hidden unit.
UNITS = Rescale(Block("first", unit_axis=-1), Block("second", unit_axis=0))
#: Sizes (inputs, hidden, outputs) of two linear layers: wide enough, and not.
LINEAR, RELU = ((4, 3, 3), (2, 5, 4), (1, 4, 2)), (4, 5, 3)


def linear_laws(inputs: int, hidden: int, outputs: int) -> int:
    """k (2h + 1 - k)/2, k the rank of both layers together: h (h + 1)/2 for k = h.

    Marcotte, Gribonval & Peyre, "Abide by the Law and Follow the Flow" (2023).
    """
    rank = min(inputs + outputs, hidden)
    return rank * (2 * hidden + 1 - rank) // 2


def closed_form_claim() -> Claim:
    """Laws and directions of the flow fill the space, but for a rank that is not full.

    With n inputs and outputs together, h units and rank k, the directions are those of
    the Lie algebra so(inputs, outputs) at two layers of that rank.
    """
    n, h, k = sp.symbols("n h k")
    laws, directions = k * (2 * h + 1 - k) / 2, k * (2 * n - 1 - k) / 2
    what = "linear: laws + directions - parameters + (n - k)(h - k)"
    return identity(what, laws + directions - n * h + (n - k) * (h - k))


# ------------------------------------------------------------------ counting


def directions(
    outputs: Outputs, w: Mapping[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where gradients at `w` point, of any loss, and where those with brackets do.

    Returns:
        Orthonormal rows, of shape (rank, parameters), for each.
    """
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, dict(w)))
        field = gradients(lambda x: outputs(unravel(x)))
        count = jax.eval_shape(outputs, dict(w)).size
        bases = lie_closure(field, count, flat, seed).bases
    return bases[0], bases[-1]


def law_gradients(values: list[Any], w: Mapping[str, Any]) -> np.ndarray:
    """The gradients at `w` of expressions in blocks: (entries, parameters)."""

    def entries(w: Any) -> Any:
        blocks = {b for value in values for b in value.atoms(Block)}
        known = {block: w[block.name] for block in blocks}
        return jnp.concatenate([jnp.ravel(v) for v in evaluate(values, known)])

    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, dict(w)))
        return np.asarray(jax.jit(jax.jacobian(lambda x: entries(unravel(x))))(flat))


def generator_fields(
    symmetries: list[DiscoveredSymmetry], w: Mapping[str, Any], seed: int
) -> np.ndarray:
    """Elements of the families at `w`, twice as many as each has generators."""
    chance, rows = np.random.default_rng(seed), []
    for symmetry in symmetries:
        for _ in range(2 * symmetry.evidence.generators):
            element = symmetry.generator.element(chance)
            still = {name: np.zeros_like(array) for name, array in w.items()}
            with jax.enable_x64(True):
                moved = symmetry.generator.field(dict(w), element)
            rows.append(still | jax.tree.map(np.asarray, moved))
    # In the order of `ravel_pytree`.
    return np.array([np.concatenate([r[n].ravel() for n in sorted(r)]) for r in rows])


def _rank(rows: np.ndarray) -> int:
    return len(row_space(rows))


# ------------------------------------------------------------------ claims


def _layers(sizes: tuple[int, int, int], activation: Any, seed: int) -> Any:
    """Two layers of these sizes at random parameters, and their outputs."""
    generator = np.random.default_rng([seed, *sizes])
    w = {
        "first": generator.normal(size=sizes[:2]),
        "second": generator.normal(size=sizes[1:]),
    }
    inputs = generator.normal(size=(32, sizes[0]))
    return w, inputs, lambda w: jnp.ravel(two_layers(w, inputs, activation))


def two_layer_claims(seed: int) -> Iterator[Claim]:
    """Linear and ReLU networks against the closed forms; tanh as the control."""
    cases = [("linear", sizes, lambda x: x, linear_laws(*sizes)) for sizes in LINEAR]
    cases.append(("ReLU", RELU, jax.nn.relu, RELU[1]))
    for name, sizes, activation, predicted in cases:
        symmetry = SYMMETRIES["linear"] if name == "linear" else UNITS
        w, _, outputs = _layers(sizes, activation, seed)
        slopes = law_gradients([conserved(symmetry).value], w)
        _, reached = directions(outputs, w, seed)
        said = f"{name} {'-'.join(map(str, sizes))}"
        left = slopes.shape[1] - len(reached)
        yield equal(
            f"{said}: laws with independent gradients", predicted, _rank(slopes)
        )
        yield equal(f"{said}: dimensions that no flow reaches", predicted, left)
    sizes = LINEAR[0]
    w, _, outputs = _layers(sizes, jnp.tanh, seed)
    _, reached = directions(outputs, w, seed)
    left = sum(a.size for a in w.values()) - len(reached)
    what = f"tanh {'-'.join(map(str, sizes))}: dimensions that no flow reaches"
    yield equal(what, linear_laws(*sizes), left, control=True)


def _halves(found: Discovery) -> tuple[list[Any], list[Any]]:
    """The symmetries whose laws gradient flow keeps, and those that give it none."""
    kept = [s for s in found if law_of(s).oscillator is not None]
    return kept, [s for s in found if s not in kept]


def _generators(symmetries: list[Any]) -> int:
    return sum(s.evidence.generators for s in symmetries)


def discovered_claims(seed: int) -> Iterator[Claim]:
    """What `discover` finds in the three networks and in a ReLU one."""
    w, batch = start_of_all(seed)
    kept, turning = _halves(discover(w, all_symmetric, batch, seed=seed))
    at_once, reached = directions(lambda w: outputs_of_all(w, batch), w, seed)
    size = reached.shape[1]
    what = "three networks: generators found, dimensions without a gradient"
    yield equal(what, size - len(at_once), _generators([*kept, *turning]))
    what = "three networks: those with a law, dimensions that no flow reaches"
    yield equal(what, size - len(reached), _generators(kept))
    fields = generator_fields(kept, w, seed)
    laws = law_gradients([conserved(s).value for s in SYMMETRIES.values()], w)
    what = "three networks: rank of those with a law, with the stated laws added"
    together = _rank(np.concatenate([unit_rows(fields), unit_rows(laws)]))
    yield equal(what, _rank(fields), together)
    what = "three networks: cosines between generators {} and what flows reach"
    for half, said in ((kept, "with a law"), (turning, "antisymmetric")):
        cosines = unit_rows(generator_fields(half, w, seed)) @ reached.T
        largest = float(np.linalg.norm(cosines, axis=1).max())
        yield below(what.format(said), largest, 1e-10, control=half is turning)

    w, inputs, _ = _layers(RELU, jax.nn.relu, seed)
    targets = np.tanh(inputs[:, : RELU[2]])

    def loss(w: Any, batch: Any) -> Any:
        return squared_error(two_layers(w, batch[0], jax.nn.relu), batch[1])

    found = discover(w, loss, (inputs, targets), seed=seed)
    what = "ReLU: generators found, one a hidden unit"
    yield equal(what, RELU[1], _generators(_halves(found)[0]))
