"""What each primitive of JAX is in SymPy, on arrays of expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp


class NoSymbolicForm(Exception):
    """Raised for what the table does not have; says what that is."""


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
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
        return _select_n(which, cases)
    no, yes = cases
    return _each(chosen)(None, which, yes, no)


def _select_n(which: Any, cases: Any) -> Any:
    out = cases[-1]
    for k, case in reversed(list(enumerate(cases[:-1]))):
        out = _each(lambda w, a, b, k=k: chosen(sp.Eq(w, k), a, b))(
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
    return _each(lambda *values: function(*map(_number, values)))


def _converted(_: Any, x: Any, *, new_dtype: Any, **__: Any) -> Any:
    def convert(value: Any) -> Any:
        value = _number(value)
        if np.issubdtype(new_dtype, np.bool_):
            return sp.Ne(value, 0)
        if np.issubdtype(new_dtype, np.integer) and not value.is_integer:
            return sp.floor(value) if value.is_nonnegative else _truncated(value)
        return value

    return _each(convert)(None, x)


def _truncated(value: Any) -> Any:
    raise NoSymbolicForm("rounding to an integer")


def _broadcast(
    _: Any, x: Any, *, shape: Any, broadcast_dimensions: Any, **__: Any
) -> Any:
    between = [1] * len(shape)
    for axis, target in enumerate(broadcast_dimensions):
        between[target] = x.shape[axis]
    return np.broadcast_to(x.reshape(between), shape)


def _transposed(_: Any, x: Any, *, permutation: Any, **__: Any) -> Any:
    return np.transpose(x, permutation)


def _reshaped(_: Any, x: Any, *, new_sizes: Any, **__: Any) -> Any:
    return x.reshape(new_sizes)


def _squeezed(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.squeeze(x, axis=tuple(dimensions))


def _expanded(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.expand_dims(x, tuple(dimensions))


def _sliced(
    _: Any, x: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **__: Any
) -> Any:
    strides = strides or [1] * x.ndim
    rows = zip(start_indices, limit_indices, strides, strict=True)
    return x[tuple(slice(*row) for row in rows)]


def _indices(values: Any) -> list[int]:
    numbers = [v[()] if isinstance(v, np.ndarray) else v for v in values]
    if not all(getattr(n, "is_Integer", False) for n in numbers):
        raise NoSymbolicForm("an index that is computed")
    return [int(n) for n in numbers]


def _dynamic_slice(_: Any, x: Any, *starts: Any, slice_sizes: Any, **__: Any) -> Any:
    begins = [
        min(max(b, 0), n - size)
        for b, n, size in zip(_indices(starts), x.shape, slice_sizes, strict=True)
    ]
    return x[
        tuple(slice(b, b + size) for b, size in zip(begins, slice_sizes, strict=True))
    ]


def _dynamic_update(_: Any, x: Any, update: Any, *starts: Any, **__: Any) -> Any:
    out = np.array(x, object)
    begins = [
        min(max(b, 0), n - size)
        for b, n, size in zip(_indices(starts), x.shape, update.shape, strict=True)
    ]
    where = tuple(
        slice(b, b + size) for b, size in zip(begins, update.shape, strict=True)
    )
    out[where] = update
    return out


def _concatenated(_: Any, *arrays: Any, dimension: Any, **__: Any) -> Any:
    return np.concatenate(arrays, axis=dimension)


def _split(_: Any, x: Any, *, sizes: Any, axis: int, **__: Any) -> Any:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def _iota(_: Any, *, dtype: Any, shape: Any, dimension: Any, **__: Any) -> Any:
    counted = np.arange(shape[dimension]).reshape(
        [-1 if axis == dimension else 1 for axis in range(len(shape))]
    )
    return np.vectorize(sp.Integer, otypes=[object])(np.broadcast_to(counted, shape))


def _reversed(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.flip(x, axis=tuple(dimensions))


def _padded(_: Any, x: Any, value: Any, *, padding_config: Any, **__: Any) -> Any:
    if any(low < 0 or high < 0 or inner for low, high, inner in padding_config):
        raise NoSymbolicForm("pad")
    widths = [(low, high) for low, high, _ in padding_config]
    return np.pad(x, widths, constant_values=value[()])


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
            out[tuple(here)] = _each(operation)(
                None, out[tuple(before)], x[tuple(here)]
            )
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
    "eq": _each(_equal),
    "ne": _each(lambda a, b: sp.Not(_equal(a, b))),
    "and": _each(_logical(sp.And)),
    "or": _each(_logical(sp.Or)),
    "xor": _each(_logical(sp.Xor)),
    "not": _each(_logical(sp.Not)),
    "is_finite": _each(lambda a: sp.true),
    "select_n": _select,
    "convert_element_type": _converted,
    "copy": lambda e, x, **_: x,
    "copy_p": lambda e, x, **_: x,
    "stop_gradient": lambda e, x, **_: x,
    "reduce_precision": lambda e, x, **_: x,
    "device_put": lambda e, *x, **_: list(x),
    "optimization_barrier": lambda e, *x, **_: list(x),
    "broadcast_in_dim": _broadcast,
    "transpose": _transposed,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "expand_dims": _expanded,
    "slice": _sliced,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "concatenate": _concatenated,
    "split": _split,
    "iota": _iota,
    "rev": _reversed,
    "pad": _padded,
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


def _cond(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    which, *operands = inputs
    branches = [evaluation.closed(b, operands) for b in parameters["branches"]]
    if len(branches) == 2:
        no, yes = branches
        return [
            _each(chosen)(None, np.broadcast_to(which, a.shape), a, b)
            for a, b in zip(yes, no, strict=True)
        ]
    return [
        _select_n(np.broadcast_to(which, cases[0].shape), cases)
        for cases in zip(*branches, strict=True)
    ]


def _scan(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    length, fixed = parameters["length"], parameters["num_consts"]
    carried = parameters["num_carry"]
    if length > evaluation.longest_loop:
        raise NoSymbolicForm(f"scan over {length} steps")
    constants, carry = inputs[:fixed], inputs[fixed : fixed + carried]
    rows, collected = inputs[fixed + carried :], []
    order = reversed(range(length)) if parameters["reverse"] else range(length)
    for k in order:
        out = evaluation.closed(
            parameters["jaxpr"], [*constants, *carry, *(r[k] for r in _arrays(rows))]
        )
        carry = out[:carried]
        collected.append(out[carried:])
    if parameters["reverse"]:
        collected.reverse()
    stacked = [np.stack(column) for column in zip(*collected, strict=True)]
    return [*carry, *stacked]


def _arrays(rows: Any) -> list[Any]:
    """Arrays whose rows are arrays, those without an axis also."""
    return [[np.asarray(r, object).reshape(row.shape[1:]) for r in row] for row in rows]


def _while(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    first, second = parameters["cond_nconsts"], parameters["body_nconsts"]
    asked, done = inputs[:first], inputs[first : first + second]
    carry = inputs[first + second :]
    for _ in range(evaluation.longest_loop):
        (on,) = evaluation.closed(parameters["cond_jaxpr"], [*asked, *carry])
        if on[()] is sp.false:
            return carry
        if on[()] is not sp.true:
            raise NoSymbolicForm("while, a loop that ends when its values say so,")
        carry = evaluation.closed(parameters["body_jaxpr"], [*done, *carry])
    raise NoSymbolicForm("while, a loop of many steps,")


CONTROL: dict[str, Callable[..., Any]] = {"cond": _cond, "scan": _scan, "while": _while}
