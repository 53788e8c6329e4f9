r"""How many independent laws gradient flow has, by where losses together can go.

The span of the gradients of all outputs, of their brackets, and so on, has as many
dimensions as the parameters less the laws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import sympy as sp

from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.losses import Loss
from lagrangian.theorems.conservation.conserved import (
    SYMMETRIES,
    along_gradient_flow,
    conserved,
)
from lagrangian.theorems.conservation.counted_digits import Digits
from lagrangian.theorems.conservation.counted_networks import (
    Counted,
    said,
    unit_law,
    unit_symmetry,
)
from lagrangian.theorems.conservation.counts_table import (
    DEEP,
    OTHERS,
    SMALL,
    networks,
)
from lagrangian.theorems.conservation.independent_laws import linear_laws
from lagrangian.theorems.conservation.matrix_algebra import (
    exact_orbit,
    generated,
    products,
)
from lagrangian.theorems.theorem import (
    Claim,
    Curve,
    Evidence,
    Panel,
    Setting,
    Theorem,
    below,
    equal,
    identity,
)

#: The cosine between the gradient of a law and what losses reach, and the relative
#: change of a law along the flow: what rounding and the integrator leave.
ORTHOGONAL, KEPT = 1e-9, 1e-10
#: (inputs, units, outputs) of two linear layers for exact matrices.
EXACT = ((1, 2, 1), (2, 2, 1))
#: Directions reached by the gradients, with one bracket, with two, with three.
LEVELS = (2, 3, 4, 4)

_degree = sp.Symbol("k", positive=True)


# ------------------------------------------------------------------ exact


def exact_claims(seed: int) -> Iterator[Claim]:
    """The law of a homogeneous unit; laws and directions; the algebra in matrices."""
    symmetry = unit_symmetry(0, _degree)
    coming, going = symmetry.xi
    value = conserved(symmetry).value
    square, squared = Inner(coming, coming), Inner(going, going)
    what = "degree k: X of Noether's law, less"
    residual = sp.expand(value - (square - _degree * squared))
    yield identity(f"{what} |v|^2 - k |u|^2", residual)
    residual = sp.expand(value - (square - squared))
    yield identity(f"{what} |v|^2 - |u|^2", residual, control=True)
    what = "degree k: X' along the gradient flow"
    yield identity(what, along_gradient_flow(symmetry, symmetry.loss))
    free = Loss("f", symmetry.blocks)
    what = f"{what}, f not invariant"
    yield identity(what, along_gradient_flow(symmetry, free), control=True)
    n, r = sp.symbols("N r", positive=True)
    for k, reached, where in (
        (r, n * r - r * (r + 1) / 2, "r <= N"),
        (n, n * (n - 1) / 2, "r >= N"),
    ):
        laws = k * (2 * r + 1 - k) / 2
        what = f"linear, {where}: laws + directions - N r"
        yield identity(what, laws + reached - n * r)
    chance = np.random.default_rng(seed)
    for inputs, width, outputs in EXACT:
        x = chance.integers(-9, 10, size=(inputs + outputs, width))
        left = x.size - exact_orbit(products(inputs, outputs), x)
        what = f"linear {inputs}-{width}-{outputs}: laws by exact matrices"
        yield equal(what, linear_laws(inputs, width, outputs), left)
    for inputs, _, outputs in EXACT:
        n = inputs + outputs
        algebra = len(generated(products(inputs, outputs)))
        what = f"linear, {inputs} inputs, {outputs} outputs: dimension of so(in, out)"
        yield equal(what, n * (n - 1) // 2, algebra)


# ------------------------------------------------------------------ counted


def count_claims(cases: Sequence[Counted]) -> Iterator[Claim]:
    """The Lie closure, and the laws that are written down."""
    for case in cases:
        yield equal(f"{case.name}: laws", case.predicted, case.unreached)
        if not case.laws:
            continue
        what = f"{case.name}: independent ones of the written laws"
        if case.complete:
            yield equal(what, case.predicted, case.written)
        else:
            what = f"{case.name}: all laws are quadratic ones"
            yield equal(what, case.written, case.unreached, control=True)
    leaks = [case.leak for case in cases if case.laws]
    what = "the largest cosine between a law's gradient and what losses reach"
    yield below(what, max(leaks), ORTHOGONAL)


def control_claims(cases: Sequence[Counted]) -> Iterator[Claim]:
    """One law a unit, where that is not so; and too few brackets.

    Args:
        cases: of the table.
    """
    known = {case.name: case for case in cases}
    for kind in [*OTHERS][:2]:
        if case := known.get(said(kind, SMALL[-1])):
            what = f"{case.name}: one law a hidden unit"
            yield equal(what, SMALL[-1][1], case.unreached, control=True)
    case = known["ReLU 2-3-2-2, a dead unit"]
    what = f"{case.name}: one law a hidden unit"
    yield equal(what, 3 + 2, case.unreached, control=True)
    found = known[said("linear", DEEP[-1])]
    levels = found.closure.levels
    what = f"{found.name}: directions with 0, 1, 2, 3 brackets"
    yield equal(what, LEVELS, levels)
    size = found.closure.reached.shape[1]
    what = f"{found.name}: laws by one bracket"
    yield equal(what, found.predicted, size - levels[1], control=True)
    # The law of another degree: its gradient leaves what is orthogonal to all losses.
    case = known[said("square", SMALL[0])]
    wrong = replace(case, laws=(unit_law(0),))
    what = f"{case.name}: cosine of |v|^2 - |u|^2 with what losses reach"
    yield below(what, wrong.leak, ORTHOGONAL, control=True)


# ------------------------------------------------------------------ digits


def digits_claims(found: Sequence[Digits]) -> Iterator[Claim]:
    """The number on real data, and that the flow keeps what was counted."""
    yield from count_claims([one.counted for one in found])
    for one in found:
        if not one.counted.laws:
            continue
        what = f"{one.counted.name}: relative change of its laws along the flow"
        yield below(what, one.moved().max(), KEPT)
        if one.kind == "square":
            what = what.replace("its laws", "|v|^2 - |u|^2")
            moved = one.moved(unit_law(0)).max()
            yield below(what, moved, KEPT, control=True)


# ------------------------------------------------------------------ figure


def _width_panel(cases: Sequence[Counted]) -> Panel:
    """Laws against the number of hidden units, for two inputs and one output."""
    curves = []
    for kind, predict in (
        ("linear", lambda r: linear_laws(2, r, 1)),
        ("ReLU", lambda r: r),
    ):
        small = [
            case
            for case in cases
            if case.name.startswith(f"{kind} 2-")
            and case.name.endswith("-1")
            and len(case.w) == 2
        ]
        widths = np.array([case.w["layer0"].shape[1] for case in small])
        counted = np.array([float(case.unreached) for case in small])
        label = "_nolegend_" if curves else "counted"
        r = np.arange(1, 6)
        line = np.array([float(predict(width)) for width in r])
        curves += [
            Curve(label, widths, counted),
            Curve(f"{kind}: predicted", r, line, "predicted"),
        ]
    none = [case for case in cases if case.name == said("tanh", SMALL[-1])]
    at = np.array([case.w["layer0"].shape[1] for case in none])
    counted = np.array([float(case.unreached) for case in none])
    curves.append(Curve("tanh", at, counted, "control"))
    title = "2 inputs, 1 output"
    return Panel(title, "hidden units", "independent laws", tuple(curves))


def _all_panel(cases: Sequence[Counted]) -> Panel:
    predicted = np.array([float(case.predicted) for case in cases])
    counted = np.array([float(case.unreached) for case in cases])
    order = np.argsort(predicted, kind="stable")
    line = np.array([0.0, predicted.max()])
    curves = [
        Curve("counted", predicted[order], counted[order]),
        Curve("predicted", line, line, "predicted"),
    ]
    wrong = [case for case in cases if case.laws and not case.complete]
    if wrong:
        x = np.array([float(case.written) for case in wrong])
        y = np.array([float(case.unreached) for case in wrong])
        curves.append(Curve("by the quadratic laws alone", x, y, "control"))
    title = f"{len(cases)} networks"
    return Panel(title, "laws, predicted", "laws, counted", tuple(curves))


def _level_panel(cases: Sequence[Counted]) -> Panel:
    """How far the span grows with brackets."""
    curves = []
    for case in cases:
        levels, size = case.closure.levels, case.closure.reached.shape[1]
        left = size - np.array(levels, float)
        label = "_nolegend_" if curves else "directions not reached"
        x = np.arange(len(levels))
        curves += [
            Curve(label, x, left),
            Curve(f"{case.name}", x, np.full(len(x), case.predicted), "predicted"),
        ]
    title = "parameters less directions reached"
    return Panel(title, "brackets", "number", tuple(curves))


def _flow_panel(found: Sequence[Digits]) -> Panel:
    curves = []
    for one in found:
        if one.counted.laws:
            t, moved = one.path.t[1:], one.moved()[1:]
            label = f"its laws, {one.kind}"
            curves.append(Curve(label, t, np.maximum(moved, 1e-17)))
    square = next(one for one in found if one.kind == "square")
    t, moved = square.path.t[1:], square.moved(unit_law(0))[1:]
    curves.append(Curve("|v|^2 - |u|^2, square", t[::4], moved[::4], "control"))
    bound = np.full(2, KEPT)
    curves.append(Curve("bound", square.path.t[[1, -1]], bound, "predicted"))
    title = "gradient flow on digits"
    return Panel(title, "t", "relative change of X", tuple(curves), ylog=True)


# ------------------------------------------------------------------ evidence


def _derivation() -> tuple[str, ...]:
    homogeneous = conserved(unit_symmetry(0, _degree)).value
    between = conserved(SYMMETRIES["linear"]).value
    return (
        rf"\sigma\ \text{{of degree }} k:\quad X = {sp.latex(homogeneous)}",
        rf"\text{{linear}}:\quad X = {sp.latex(between)}",
        r"\#\{X\} = D - \dim \mathrm{Lie}\{\nabla g_i\}",
    )


def _prove(setting: Setting) -> Evidence:
    seed, quick = setting.seed, setting.quick
    setting.report("Deriving the laws, and counting in exact matrices.")
    claims = [*exact_claims(seed)]
    setting.report("Counting the laws of the networks of the table.")
    cases = [*networks(seed, quick)]
    claims += [*count_claims(cases), *control_claims(cases)]
    setting.report("Counting on digits, and following their gradient flow.")
    kinds = ("square", "tanh") if quick else ("linear", "ReLU", "square", "tanh")
    found = [Digits(kind, seed) for kind in kinds]
    claims += digits_claims(found)
    chain = next(case for case in cases if case.name == said("linear", DEEP[-1]))
    panels = (
        _width_panel(cases),
        _all_panel([*cases, *(one.counted for one in found)]),
        _level_panel([chain, *(one.counted for one in found)]),
        _flow_panel(found),
    )
    return Evidence(_derivation(), tuple(claims), panels)


THEOREM = Theorem(
    name="counting-laws",
    title="Gradient flow has D - dim Lie independent laws, and this many they are",
    statement=r"""Let $g_i(\theta)$, $\theta\in\mathbb R^D$, be the outputs of a network
at all of its inputs. What gradient flow conserves for every loss of them has a gradient
that is orthogonal to all $\nabla g_i$, hence to their brackets, and to the brackets of
these. Near a generic $\theta$ there are exactly
$D - \dim \mathrm{Lie}\{\nabla g_i\}(\theta)$ independent laws. With $u_j^2$ and $v_j^2$
for the squared norms of what goes out of a unit and comes into it:

| network, $N$ inputs and outputs, $r$ hidden units | laws | number |
|---|---|---|
| two linear layers | $U^TU - V^TV$ | $k(2r+1-k)/2$, $k = \min(N, r)$ |
| ReLU, with biases or without | $v_j^2 + b_j^2 - u_j^2$ | $r$ |
| positively homogeneous of degree $k$, also $-1$ | $v_j^2 - k u_j^2$ | $r$ |
| $x_1 x_2\cdots x_D$ | $x_i^2 - x_j^2$ | $D - 1$ |
| tanh, GELU, SiLU | none | 0 |
| any single function of $\theta$ | | $D - 1$ |
| deep linear | $W_i W_i^T - W_{i+1}^T W_{i+1}$ | the rank of their gradients |
| deep linear, scalar input and output | these and others | $D - 1$ |
| ReLU, scalar input, no bias | of a linear network each sign | their sum |
| ReLU 2-3-2-2 where a second unit is dead | and its weights | $3 + 1 + 5$ |
| ReLU 2-3-2-2 where the second units only add | and those of a linear pair | $3 + 3$ |

The last four are missing in the published tables. The counts of random deep linear
networks that go with the theorem draw widths of two and more, where the quadratic laws
are all; at scalar input and output there is one field only, which has no brackets. The
theorem about ReLU layers asks for hyperplanes that differ, as a scalar input without
biases never has them: there the units of one sign are a linear network. The
count of one law a hidden unit in deep ReLU networks is proved for
the map of all paths, of whose gradients the data see a part; there are open sets of
weights with more. One bracket is not always enough: the linear network 1-2-2-2 needs
two.""",
    source="Marcotte, Gribonval & Peyre, Abide by the Law and Follow the Flow: "
    "Conservation Laws for Gradient Flows (2023); degrees other than 1, and the four "
    "last rows, derived here.",
    prove=_prove,
    has_quick=True,
)
