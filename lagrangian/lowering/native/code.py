"""Functions written in the language of LLVM, one operation on scalars at a time.

Python's numbers are constants. What they make together is one, too, and what they are
multiplied with is zero if they are. What depends on nothing but constants and arguments
is computed once, before any loop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: The kinds of scalars, and vectors for sums of many products.
DOUBLE, INTEGER, BOOLEAN, VECTOR = "double", "i64", "i1", "<4 x double>"
#: Numbers in a vector.
LANES = 4


class NotNative(Exception):
    """Something of which there is no machine code here: JAX has to compute it."""


class Value:
    """A scalar that is known when the program runs."""

    __slots__ = ("code", "early", "kind", "name")

    def __init__(self, code: Code, name: str, kind: str, early: bool):
        self.code, self.name, self.kind, self.early = code, name, kind, early

    def __add__(self, other: Any) -> Any:
        return self.code.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return self.code.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return self.code.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.code.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return self.code.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.code.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.code.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.code.divide(other, self)

    def __neg__(self) -> Any:
        return self.code.operation(f"fneg double {self.name}", DOUBLE, [self])

    def __abs__(self) -> Any:
        return self.code.call("llvm.fabs.f64", [self])


class Code:
    """A function of pointers, which returns nothing.

    Args:
        name: its own.
        arguments: those of its `pointers`; a letter and a number are taken.
    """

    def __init__(self, name: str, arguments: Sequence[str]):
        self.name, self.pointers = name, [f"%{a}" for a in arguments]
        #: What comes before all loops, and the rest.
        self._early: list[str] = []
        self._lines: list[str] = []
        self._is_early, self._count = True, 0
        self._known: dict[str, Value] = {}
        self._early_known: dict[str, Value] = {}
        self._declared: dict[str, str] = {}
        self._block = ""

    # ------------------------------------------------------------ operations

    def operation(self, text: str, kind: str, of: Sequence[Any]) -> Value:
        """The value of an operation without effects on the values `of`; each once."""
        early = all(x.early for x in of if isinstance(x, Value))
        known = self._early_known if early else self._known
        if text not in known:
            known[text] = self._new(text, kind, early)
        return known[text]

    def read(self, pointer: str, kind: str = DOUBLE, place: Any = 0) -> Value:
        """What is stored now in the eight bytes number `place` behind a pointer."""
        at = self.at(pointer, place)
        if kind == BOOLEAN:
            held = self._new(f"load i64, ptr {at}, align 8", INTEGER, self._is_early)
            return self.operation(f"icmp ne i64 {held.name}, 0", BOOLEAN, [held])
        return self._new(f"load {kind}, ptr {at}, align 8", kind, self._is_early)

    def write(self, value: Any, pointer: str, kind: str = DOUBLE, place: Any = 0):
        """Store a value there."""
        if kind == BOOLEAN:
            value = self.operation(
                f"zext i1 {text(value, kind)} to i64", INTEGER, [value]
            )
            kind = INTEGER
        at = self.at(pointer, place)
        self._do(f"store {kind} {text(value, kind)}, ptr {at}, align 8")

    def at(self, pointer: str, place: Any) -> str:
        """The pointer to number `place` of eight bytes each behind a pointer."""
        line = f"getelementptr double, ptr {pointer}, i64 {text(place, INTEGER)}"
        return self._new(line, "ptr", self._is_early).name

    def memory(self, count: int) -> str:
        """A pointer to so many numbers on the stack, which are zero."""
        self._count += 1
        name = f"%m{self._count}"
        self._early.append(f"{name} = alloca [{count} x double], align 32")
        self._zero(name, count)
        return name

    def _zero(self, pointer: str, count: int) -> None:
        name = "llvm.memset.p0.i64"
        self._declared[name] = f"declare void @{name}(ptr, i8, i64, i1)"
        self._do(f"call void @{name}(ptr {pointer}, i8 0, i64 {8 * count}, i1 false)")

    def call(self, function: str, of: Sequence[Any], kind: str = DOUBLE) -> Value:
        """A function of numbers of one kind, from the C library or LLVM."""
        kinds = ", ".join(kind for _ in of)
        declared = (
            f"declare {kind} @{function}({kinds}) memory(none) nounwind willreturn"
        )
        self._declared[function] = declared
        given = ", ".join(f"{kind} {text(x, kind)}" for x in of)
        return self.operation(f"call {kind} @{function}({given})", kind, of)

    def sum_of(self, vector: Any) -> Value:
        """The sum of a vector's numbers."""
        name = "llvm.vector.reduce.fadd.v4f64"
        self._declared[name] = f"declare double @{name}(double, {VECTOR})"
        line = f"call reassoc double @{name}(double -0.0, {VECTOR} {vector.name})"
        return self.operation(line, DOUBLE, [vector])

    def select(self, condition: Any, chosen: Any, other: Any, kind: str) -> Any:
        """One of two values of a kind."""
        if not isinstance(condition, Value):
            return chosen if condition else other
        if chosen is other:
            return chosen
        one, two = (f"{kind} {text(x, kind)}" for x in (chosen, other))
        line = f"select i1 {condition.name}, {one}, {two}"
        return self.operation(line, kind, [condition, chosen, other])

    def binary(
        self, name: str, one: Any, other: Any, kind: str, result: str = ""
    ) -> Any:
        """An operation of two values of a kind; `result` is another kind."""
        line = f"{name} {kind} {text(one, kind)}, {text(other, kind)}"
        return self.operation(line, result or kind, [one, other])

    def add(self, one: Any, other: Any) -> Any:
        if _is(one, 0):
            return other
        return one if _is(other, 0) else self.binary("fadd", one, other, DOUBLE)

    def subtract(self, one: Any, other: Any) -> Any:
        return one if _is(other, 0) else self.binary("fsub", one, other, DOUBLE)

    def multiply(self, one: Any, other: Any) -> Any:
        for factor, rest in ((one, other), (other, one)):
            if _is(factor, 0):
                return 0.0
            if _is(factor, 1):
                return rest
            if _is(factor, -1):
                return -rest
        return self.binary("fmul", one, other, DOUBLE)

    def divide(self, one: Any, other: Any) -> Any:
        return one if _is(other, 1) else self.binary("fdiv", one, other, DOUBLE)

    def multiply_add(self, one: Any, other: Any, third: Any) -> Any:
        """one * other + third, rounded once where the processor does that."""
        values = (one, other, third)
        if isinstance(one, Value) and one.kind == VECTOR:
            return self.call("llvm.fmuladd.v4f64", values, VECTOR)
        if all(isinstance(x, Value) for x in values):
            return self.call("llvm.fmuladd.f64", values)
        return one * other + third

    # ------------------------------------------------------------ flow of control

    def label(self, name: str) -> None:
        """Begin a block, to which others go by its name; the first ends the start."""
        self._known = {}
        if self._is_early:
            self._is_early = False
            self._lines.append(f"br label %{name}")
        self._lines.append(f"{name}:")
        self._block = name

    def go(self, condition: Any, there: str, elsewhere: str) -> None:
        """End a block: go to one of two others."""
        self._do(
            f"br i1 {text(condition, BOOLEAN)}, label %{there}, label %{elsewhere}"
        )

    def repeat(
        self,
        first: int,
        end: Any,
        body: Callable[[Value, list[Value]], Sequence[Any]],
        carried: Sequence[Any] = (),
        kind: str = DOUBLE,
    ) -> Sequence[Any]:
        """A loop over whole numbers from `first` until before `end`, at least once.

        The body makes of the number and of what is carried what is carried on; returns
        the last.
        """
        self._count += 1
        n, before = self._count, self._block
        index = Value(self, f"%i{n}", INTEGER, False)
        held = [Value(self, f"%c{n}_{i}", kind, False) for i in range(len(carried))]
        self._do(f"br label %loop{n}")
        self.label(f"loop{n}")
        place = len(self._lines)
        following = body(index, held)
        last = self._block
        phis = [f"%i{n} = phi i64 [ {first}, %{before} ], [ %next{n}, %{last} ]"]
        for value, given, made in zip(held, carried, following, strict=True):
            ways = f"[ {text(given, kind)}, %{before} ], [ {made.name}, %{last} ]"
            phis.append(f"{value.name} = phi {kind} {ways}")
        self._lines[place:place] = phis
        self._do(f"%next{n} = add i64 %i{n}, 1")
        self._do(f"%more{n} = icmp slt i64 %next{n}, {text(end, INTEGER)}")
        self._do(f"br i1 %more{n}, label %loop{n}, label %after{n}")
        self.label(f"after{n}")
        return following

    def module(self) -> str:
        """All of it, in LLVM's language."""
        arguments = ", ".join(f"ptr noalias {p}" for p in self.pointers)
        lines = [*self._declared.values(), f"define void @{self.name}({arguments}) {{"]
        lines += [*self._early, *self._lines, "ret void", "}"]
        return "\n".join(lines)

    def _do(self, line: str) -> None:
        (self._early if self._is_early else self._lines).append(line)

    def _new(self, text: str, kind: str, early: bool) -> Value:
        self._count += 1
        name = f"%x{self._count}"
        (self._early if early else self._lines).append(f"{name} = {text}")
        return Value(self, name, kind, early)


def text(x: Any, kind: str) -> str:
    """A value or constant of a kind, as LLVM writes it."""
    if isinstance(x, Value):
        return x.name
    if kind == DOUBLE:
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(x)))[0]:016X}"
    if kind == VECTOR:
        return "zeroinitializer"  # the only one that is asked for
    return str(bool(x)).lower() if kind == BOOLEAN else str(int(x))


def _is(x: Any, number: int) -> bool:
    return not isinstance(x, Value) and x == number


def values(array: Any) -> np.ndarray:
    """Numbers of NumPy or JAX as an array of Python's."""
    array = np.asarray(array)
    held = np.empty(array.shape, object)
    held[...] = array.tolist() if array.ndim else array.item()
    return held
