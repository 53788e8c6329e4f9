"""What each primitive of JAX is in SymPy, on arrays of expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.read import shapes
from lagrangian.learning.rules.read.shapes import NoSymbolicForm


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Element by element, over arrays that broadcast."""

    def apply(_: Any, *arrays: Any, **__: Any) -> Any:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        arrays = tuple(np.broadcast_to(a, shape) for a in arrays)
        out = np.empty(shape, object)
        for index in np.ndindex(shape):
            out[index] = function(*(a[index] for a in arrays))
        return out

    return apply


def _number(value: Any) -> Any:
    """A truth value as 0 or 1 where arithmetic meets it."""
    if value is sp.true:
        return sp.S.One
    if value is sp.false:
        return sp.S.Zero
    if _is_truth(value):
        return chosen(value, sp.S.One, sp.S.Zero)
    return value


def _is_truth(value: Any) -> bool:
    """Whether it is a condition. For SymPy, symbols of numbers are such, too."""
    return isinstance(value, sp.logic.boolalg.Boolean) and not value.is_Symbol


def chosen(condition: Any, yes: Any, no: Any) -> Any:
    """`yes` where the condition holds, and `no` elsewhere."""
    if condition in (sp.true, sp.S.One):
        return yes
    if condition in (sp.false, sp.S.Zero):
        return no
    if yes == no:
        return yes
    if not _is_truth(condition):
        condition = sp.Ne(condition, 0)
    if _is_truth(yes) and _is_truth(no):
        return sp.Or(sp.And(condition, yes), sp.And(sp.Not(condition), no))
    yes, no = _told(_number(yes), condition, 0), _told(_number(no), condition, 1)
    if yes == no:
        return yes
    return sp.Piecewise((yes, condition), (no, True), evaluate=False)


def _told(expression: Any, condition: Any, case: int) -> Any:
    """An expression where it is known whether a condition holds."""
    if not expression.has(sp.Piecewise):
        return expression
    return expression.xreplace(
        {
            cases: cases.args[case].expr
            for cases in expression.atoms(sp.Piecewise)
            if len(cases.args) == 2 and cases.args[0].cond == condition
        }
    )


def _select(_: Any, which: Any, *cases: Any, **__: Any) -> Any:
    if len(cases) != 2:
        return select_n(which, cases)
    no, yes = cases
    return each(chosen)(None, which, yes, no)


def select_n(which: Any, cases: Any) -> Any:
    out = cases[-1]
    for k, case in reversed(list(enumerate(cases[:-1]))):
        out = each(lambda w, a, b, k=k: chosen(sp.Eq(w, k), a, b))(
            None, which, case, out
        )
    return out


#: The largest integers of int32 and of int64: no counter gets there.
_BIGGEST = (sp.Integer(2**31 - 1), sp.Integer(2**63 - 1), sp.Integer(2**32 - 1))


def _less(a: Any, b: Any) -> Any:
    if sp.nan in (a, b):
        return sp.false
    return sp.true if b in _BIGGEST and a.free_symbols else sp.Lt(a, b)


def _at_most(a: Any, b: Any) -> Any:
    if sp.nan in (a, b):
        return sp.false
    return sp.true if b in _BIGGEST and a.free_symbols else sp.Le(a, b)


def _equal(a: Any, b: Any) -> Any:
    if _is_truth(a) and b in (0, 1):
        return a if b == 1 else sp.Not(a)
    if isinstance(a, sp.logic.boolalg.BooleanAtom) or isinstance(
        b, sp.logic.boolalg.BooleanAtom
    ):
        return sp.Equivalent(a, b) if a != b else sp.true
    if {a, b} & {sp.oo, -sp.oo, sp.nan}:  # what is computed is finite
        return sp.true if a == b != sp.nan else sp.false
    return sp.Eq(a, b)


def _round(x: Any) -> Any:
    if x.is_integer:
        return x
    raise NoSymbolicForm("round")


def _remainder(a: Any, b: Any) -> Any:
    return sp.Mod(a, b)  # of counters, which are not negative


def _whole_quotient(a: Any, b: Any) -> Any:
    return sp.floor(a / b)  # of counters, which are not negative


def _logical(operation: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        if not all(map(_is_truth, values)):
            raise NoSymbolicForm("operations on bits")
        return operation(*values)

    return apply


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return each(lambda *values: function(*map(_number, values)))


def _converted(_: Any, x: Any, *, new_dtype: Any, **__: Any) -> Any:
    def convert(value: Any) -> Any:
        value = _number(value)
        if np.issubdtype(new_dtype, np.bool_):
            return sp.Ne(value, 0)
        if np.issubdtype(new_dtype, np.integer) and not value.is_integer:
            return sp.floor(value) if value.is_nonnegative else _truncated(value)
        return value

    return each(convert)(None, x)


def _truncated(value: Any) -> Any:
    raise NoSymbolicForm("rounding to an integer")


def _reduce(kind: str) -> Callable[..., Any]:
    def apply(evaluation: Any, x: Any, *, axes: Any, **_: Any) -> Any:
        kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
        moved = np.moveaxis(x, tuple(axes), range(-len(axes), 0)).reshape(*kept, -1)
        out = np.empty(kept, object)
        for index in np.ndindex(*kept):
            out[index] = evaluation.reduced(kind, [*map(_number, moved[index])])
        return out

    return apply


def _reduce_logic(operation: Callable[..., Any]) -> Callable[..., Any]:
    def apply(_: Any, x: Any, *, axes: Any, **__: Any) -> Any:
        kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
        moved = np.moveaxis(x, tuple(axes), range(-len(axes), 0)).reshape(*kept, -1)
        out = np.empty(kept, object)
        for index in np.ndindex(*kept):
            out[index] = operation(*moved[index])
        return out

    return apply


def _dot(evaluation: Any, a: Any, b: Any, *, dimension_numbers: Any, **_: Any) -> Any:
    (left, right), (batched, _) = dimension_numbers
    if batched:
        raise NoSymbolicForm("dot_general over a batch")
    symbolic = [any(e.free_symbols for e in x.flat) for x in (a, b)]
    free = a.ndim + b.ndim - 2 * len(left)
    if all(symbolic) and free:
        raise NoSymbolicForm("dot_general, a product of matrices,")
    if not all(symbolic):  # a constant matrix: a linear combination
        return np.asarray(np.tensordot(a, b, axes=(left, right)), object)
    b = np.transpose(b, [right[left.index(axis)] for axis in range(a.ndim)])
    terms = [x * y for x, y in zip(a.flat, b.flat, strict=True)]
    return evaluation.reduced("sum", terms)


def _cumulative(operation: Callable[..., Any]) -> Callable[..., Any]:
    def apply(_: Any, x: Any, *, axis: int, reverse: bool, **__: Any) -> Any:
        x = np.flip(x, axis) if reverse else x
        out = np.array(x, object)
        for k in range(1, x.shape[axis]):
            here = [slice(None)] * x.ndim
            before = list(here)
            here[axis], before[axis] = slice(k, k + 1), slice(k - 1, k)
            out[tuple(here)] = each(operation)(None, out[tuple(before)], x[tuple(here)])
        return np.flip(out, axis) if reverse else out

    return apply


PRIMITIVES: dict[str, Callable[..., Any]] = {
    "add": _plain(lambda a, b: a + b),
    "add_any": _plain(lambda a, b: a + b),
    "sub": _plain(lambda a, b: a - b),
    "mul": _plain(lambda a, b: a * b),
    "div": _plain(lambda a, b: a / b),
    "div of integers": _plain(_whole_quotient),
    "rem": _plain(_remainder),
    "neg": _plain(lambda a: -a),
    "pow": _plain(lambda a, b: a**b),
    "integer_pow": lambda e, x, *, y, **_: _plain(lambda a: a**y)(e, x),
    "square": _plain(lambda a: a**2),
    "sqrt": _plain(sp.sqrt),
    "rsqrt": _plain(lambda a: 1 / sp.sqrt(a)),
    "cbrt": _plain(sp.cbrt),
    "exp": _plain(sp.exp),
    "exp2": _plain(lambda a: 2**a),
    "expm1": _plain(lambda a: sp.exp(a) - 1),
    "log": _plain(sp.log),
    "log1p": _plain(lambda a: sp.log(1 + a)),
    "abs": _plain(sp.Abs),
    "sign": _plain(sp.sign),
    "floor": _plain(sp.floor),
    "ceil": _plain(sp.ceiling),
    "round": _plain(_round),
    "max": _plain(sp.Max),
    "min": _plain(sp.Min),
    "clamp": _plain(lambda low, x, high: sp.Min(sp.Max(x, low), high)),
    "sin": _plain(sp.sin),
    "cos": _plain(sp.cos),
    "tan": _plain(sp.tan),
    "asin": _plain(sp.asin),
    "acos": _plain(sp.acos),
    "atan": _plain(sp.atan),
    "atan2": _plain(sp.atan2),
    "sinh": _plain(sp.sinh),
    "cosh": _plain(sp.cosh),
    "tanh": _plain(sp.tanh),
    "asinh": _plain(sp.asinh),
    "acosh": _plain(sp.acosh),
    "atanh": _plain(sp.atanh),
    "logistic": _plain(lambda a: 1 / (1 + sp.exp(-a))),
    "erf": _plain(sp.erf),
    "erf_inv": _plain(sp.erfinv),
    "lt": _plain(_less),
    "le": _plain(_at_most),
    "gt": _plain(lambda a, b: _less(b, a)),
    "ge": _plain(lambda a, b: _at_most(b, a)),
    "eq": each(_equal),
    "ne": each(lambda a, b: sp.Not(_equal(a, b))),
    "and": each(_logical(sp.And)),
    "or": each(_logical(sp.Or)),
    "xor": each(_logical(sp.Xor)),
    "not": each(_logical(sp.Not)),
    "is_finite": each(lambda a: sp.true),
    "select_n": _select,
    "convert_element_type": _converted,
    "copy": lambda e, x, **_: x,
    "copy_p": lambda e, x, **_: x,
    "stop_gradient": lambda e, x, **_: x,
    "reduce_precision": lambda e, x, **_: x,
    "device_put": lambda e, *x, **_: list(x),
    "optimization_barrier": lambda e, *x, **_: list(x),
    "broadcast_in_dim": shapes.broadcast,
    "transpose": shapes.transposed,
    "reshape": shapes.reshaped,
    "squeeze": shapes.squeezed,
    "expand_dims": shapes.expanded,
    "slice": shapes.sliced,
    "dynamic_slice": shapes.dynamic_slice,
    "dynamic_update_slice": shapes.dynamic_update,
    "concatenate": shapes.concatenated,
    "split": shapes.split,
    "iota": shapes.iota,
    "rev": shapes.reversed,
    "pad": shapes.padded,
    "reduce_sum": _reduce("sum"),
    "reduce_max": _reduce("max"),
    "reduce_min": _reduce("min"),
    "reduce_prod": _reduce("prod"),
    "reduce_and": _reduce_logic(sp.And),
    "reduce_or": _reduce_logic(sp.Or),
    "dot_general": _dot,
    "cumsum": _cumulative(lambda a, b: a + b),
}

#: What makes random numbers, or keys of them.
RANDOM = frozenset(
    "random_bits random_seed random_wrap random_unwrap random_split random_fold_in "
    "random_gamma threefry2x32".split()
)
