"""JAX programs of a few scalars as machine code, with their loops unrolled.

Arrays are NumPy's, of scalars: what moves elements about is done while the code is
written, and costs nothing when it runs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import jax
import numpy as np

from lagrangian.lowering.native.code import (
    BOOLEAN,
    DOUBLE,
    INTEGER,
    Code,
    NotNative,
    Value,
    text,
    values,
)

#: What writes a primitive of a name of its own: from the code, the arguments and the
#: primitive's parameters to its results.
Rule = Callable[..., Sequence[Any]]


def emit(
    code: Code, program: Any, arguments: Sequence[Any], own: Mapping[str, Rule] = {}
) -> list[Any]:
    """The results of a closed jaxpr, as arrays of values.

    Args:
        arguments: an array of values for each of the program's.
        own: rules for primitives of the caller's.

    Raises:
        NotNative: a primitive without a rule.
    """
    known = dict(zip(program.jaxpr.constvars, map(values, program.consts), strict=True))
    known |= zip(program.jaxpr.invars, arguments, strict=True)

    def read(x: Any) -> Any:
        return values(x.val) if hasattr(x, "val") else known[x]

    for equation in program.jaxpr.eqns:
        name, given = equation.primitive.name, [read(x) for x in equation.invars]
        if name in own:
            results = own[name](code, *given, **equation.params)
        else:
            results = _results(code, equation, given, own)
        known |= zip(equation.outvars, results, strict=True)
    return [read(x) for x in program.jaxpr.outvars]


def emit_function(
    code: Code, function: Callable[..., Any], arguments: Sequence[Any]
) -> Any:
    """The value of a JAX function of real numbers."""
    with jax.enable_x64(True):
        program = jax.make_jaxpr(function)(*[0.0] * len(arguments))
    (result,) = emit(code, program, list(map(values, arguments)))
    return result.item()


def kind_of(x: Any) -> str:
    """The kind of an array's elements."""
    return {"f": DOUBLE, "b": BOOLEAN}.get(np.dtype(x.dtype).kind, INTEGER)


def _results(code: Code, equation: Any, given: list[Any], own: Any) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    result = equation.outvars[0].aval
    if name in _ELEMENTS:
        kinds = [kind_of(x.aval) for x in equation.invars]
        rule = partial(_ELEMENTS[name], code, kinds[-1], kind_of(result), params)
        return [_each(rule, given, result.shape)]
    if name in _MOVES:
        return [_MOVES[name](*given, result.shape, params)]
    if name in ("stop_gradient", "copy", "optimization_barrier"):
        return given
    if name in ("jit", "pjit", "closed_call", "custom_jvp_call"):
        called = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
        return emit(code, called, given, own)
    if name == "scan":
        return _scanned(code, params, given, own)
    if name == "reduce":
        (axis,) = params["dimensions"]
        reducer = params["jaxpr"]

        def combined(one: Any, other: Any) -> Any:
            results = emit(code, reducer, [values(one), values(other)], own)
            return results[0].item()

        rows = [given[1], *np.moveaxis(given[0], axis, 0)]
        return [reduce(lambda a, b: _each(combined, [a, b], result.shape), rows)]
    raise NotNative(f"the primitive {name}")


def _each(rule: Callable[..., Any], given: Sequence[Any], shape: Any) -> Any:
    """A rule for scalars, for each of some arrays' elements."""
    results = np.frompyfunc(rule, len(given), 1)(*given)
    return np.broadcast_to(np.asarray(results, object), shape)


def _scanned(code: Code, params: Any, given: list[Any], own: Any) -> list[Any]:
    if "num_consts" in params:
        held, n = params["num_consts"], params["num_carry"]
    else:  # from JAX 0.12 on
        held, n, _ = map(len, params["ft_in"].unpack())
    constants = given[:held]
    carry = given[len(constants) : len(constants) + n]
    over, out = given[len(constants) + n :], []
    for i in range(params["length"]):
        rows = [x[i] for x in over]
        results = emit(code, params["jaxpr"], [*constants, *carry, *rows], own)
        carry = results[:n]
        out.append(results[n:])
    return [*carry, *(np.stack(rows) for rows in zip(*out, strict=True))]


# ------------------------------------------------------------ moving elements


def _broadcast(x: Any, shape: Any, params: Any) -> Any:
    sizes = [1] * len(params["shape"])
    for size, place in zip(x.shape, params["broadcast_dimensions"], strict=True):
        sizes[place] = size
    return np.broadcast_to(x.reshape(sizes), params["shape"])


def _slice(x: Any, shape: Any, params: Any) -> Any:
    strides = params["strides"] or [1] * x.ndim
    ends = params["start_indices"], params["limit_indices"], strides
    return x[tuple(map(slice, *ends))]


def _dynamic_slice(x: Any, *rest: Any) -> Any:
    *places, shape, params = rest
    starts = [place.item() for place in places]
    if any(isinstance(start, Value) for start in starts):
        raise NotNative("a slice whose place moves")
    sizes = params["slice_sizes"]
    return x[tuple(slice(i, i + n) for i, n in zip(starts, sizes, strict=True))]


def _joined(*rest: Any) -> Any:
    *arrays, _, params = rest
    return np.concatenate(arrays, params["dimension"])


def _stacked(*rest: Any) -> Any:
    *arrays, _, params = rest
    return np.stack(arrays, params["axis"])


#: From arrays, the shape of the result and the parameters to the result.
_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda x, shape, params: x.reshape(shape),
    "squeeze": lambda x, shape, params: x.reshape(shape),
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "concatenate": _joined,
    "stack": _stacked,
}


# ------------------------------------------------------------ element by element


def _any_values(*some: Any) -> bool:
    return any(isinstance(x, Value) for x in some)


def _arithmetic(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(code: Code, kind: str, _: str, __: Any, one: Any, other: Any) -> Any:
        if kind == DOUBLE or not _any_values(one, other):
            return function(one, other)
        return code.binary(name, one, other, kind)

    return rule


def _compared(sign: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(code: Code, kind: str, _: str, __: Any, one: Any, other: Any) -> Any:
        if not _any_values(one, other):
            return function(one, other)
        if kind == DOUBLE:
            # Unordered, as all comparisons with nan are false but this one.
            sign_of = "une" if sign == "ne" else f"o{sign}"
            return code.binary(f"fcmp {sign_of}", one, other, kind, BOOLEAN)
        signed = sign if sign in ("eq", "ne") else f"s{sign}"
        return code.binary(f"icmp {signed}", one, other, kind, BOOLEAN)

    return rule


def larger(code: Code, one: Any, other: Any, sign: str = "ogt") -> Any:
    """The larger of two numbers; nan if one of them is."""
    if not isinstance(one, Value):
        one, other = other, one
    if not isinstance(one, Value):
        return max(one, other) if sign == "ogt" else min(one, other)
    wins = code.binary(f"fcmp {sign}", one, other, DOUBLE, BOOLEAN)
    undefined = code.binary("fcmp uno", one, one, DOUBLE, BOOLEAN)
    wins = code.binary("or", wins, undefined, BOOLEAN)
    return code.select(wins, one, other, DOUBLE)


def smaller(code: Code, one: Any, other: Any) -> Any:
    """The smaller of two numbers; nan if one of them is."""
    return larger(code, one, other, "olt")


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def rule(code: Code, kind: str, _: str, __: Any, one: Any, other: Any) -> Any:
        if kind != DOUBLE:
            raise NotNative("the larger of whole numbers")
        return choose(code, one, other)

    return rule


def _select(code: Code, _: str, kind: str, __: Any, which: Any, *cases: Any) -> Any:
    other, chosen = cases
    return code.select(which, chosen, other, kind)


def _convert(code: Code, old: str, new: str, _: Any, x: Any) -> Any:
    if not isinstance(x, Value):
        return {DOUBLE: float, INTEGER: int, BOOLEAN: bool}[new](x)
    if old == new:
        return x
    name = {
        (INTEGER, DOUBLE): "sitofp",
        (BOOLEAN, DOUBLE): "uitofp",
        (BOOLEAN, INTEGER): "zext",
    }.get((old, new))
    if name is None:
        raise NotNative(f"{old} as {new}")
    return code.operation(f"{name} {old} {x.name} to {new}", new, [x])


def _bits(code: Code, old: str, new: str, _: Any, x: Any) -> Any:
    if old == new:
        return x
    return code.operation(f"bitcast {old} {text(x, old)} to {new}", new, [x])


def _not(code: Code, kind: str, _: str, __: Any, x: Any) -> Any:
    if kind != BOOLEAN:
        raise NotNative("the bits of a number inverted")
    return code.binary("xor", x, True, BOOLEAN) if isinstance(x, Value) else not x


def _sign(code: Code, kind: str, _: str, __: Any, x: Any) -> Any:
    if kind != DOUBLE:
        raise NotNative("the sign of a whole number")
    # Zero and nan are their own.
    moves = code.binary("fcmp one", x, 0.0, DOUBLE, BOOLEAN)
    return code.select(moves, code.call("llvm.copysign.f64", [1.0, x]), x, DOUBLE)


def _is_finite(code: Code, _: str, __: str, ___: Any, x: Any) -> Any:
    size = code.call("llvm.fabs.f64", [x])
    return code.binary("fcmp olt", size, np.inf, DOUBLE, BOOLEAN)


def _power(code: Code, _: str, __: str, params: Any, x: Any) -> Any:
    whole = abs(params["y"])
    value = reduce(operator.mul, [x] * whole) if whole else 1.0
    return value if params["y"] >= 0 else 1.0 / value


def _function(name: str) -> Callable[..., Any]:
    def rule(code: Code, _: str, __: str, ___: Any, *of: Any) -> Any:
        return code.call(name, of)

    return rule


#: Functions of the C library, by the names of JAX's primitives.
LIBRARY = {
    name: name
    for name in (
        "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh "
        "exp exp2 expm1 log log2 log1p cbrt erf erfc pow"
    ).split()
}

#: From the code, the kinds of the last argument and of the result, the parameters and
#: the arguments to the result.
_ELEMENTS: dict[str, Callable[..., Any]] = {
    "add": _arithmetic("add", operator.add),
    "sub": _arithmetic("sub", operator.sub),
    "mul": _arithmetic("mul", operator.mul),
    "div": _arithmetic("sdiv", lambda a, b: a / b),
    "and": _arithmetic("and", operator.and_),
    "or": _arithmetic("or", operator.or_),
    "gt": _compared("gt", operator.gt),
    "ge": _compared("ge", operator.ge),
    "lt": _compared("lt", operator.lt),
    "le": _compared("le", operator.le),
    "eq": _compared("eq", operator.eq),
    "ne": _compared("ne", operator.ne),
    "max": _extreme(larger),
    "min": _extreme(smaller),
    "neg": lambda code, kind, _, __, x: -x,
    "abs": lambda code, kind, _, __, x: abs(x),
    "square": lambda code, kind, _, __, x: x * x,
    "sqrt": _function("llvm.sqrt.f64"),
    "integer_pow": _power,
    "sign": _sign,
    "is_finite": _is_finite,
    "not": _not,
    "select_n": _select,
    "convert_element_type": _convert,
    "bitcast_convert_type": _bits,
    **{name: _function(function) for name, function in LIBRARY.items()},
}
