"""A system as Python: the lines of a script that builds it, and moves it."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.systems.system import System

#: What the lines themselves call something.
_TAKEN = {
    *keyword.kwlist, *keyword.softkwlist, "lg", "sp", "np", "print", "list", "zip",
    "T", "V", "L", "law", "found", "flow", "path", "values", "start", "velocity",
    "crossings", "many", "spread", "plt", "row", "diffrax", "generator",
}  # fmt: skip


class Script:
    """The variables of a script by symbol, and what is written with them.

    A name that Python or the script itself needs gets a `_` behind it: the coordinate
    `L` of a spec is the variable `L_`, which still prints as L.

    >>> from lagrangian import systems
    >>> script = Script(systems.make_system("kepler"))
    >>> print(script.system_lines[0])
    x, y = lg.coordinates("x y")
    >>> script.written(next(iter(script.system.lagrangian.coordinates)).dot ** 2 / 3)
    'x.dot**2/3'
    """

    def __init__(self, system: System):
        self.system = system
        L = system.lagrangian
        parts = sp.Tuple(L.T, L.V, L.damping, L.dissipation, *L.forces.values(),
                         *L.constraints.expressions)  # fmt: skip
        free = sorted(parts.free_symbols, key=str)
        constants = [s for s in free if not isinstance(s, Coordinate) and s != time]
        #: The parameters, and constants that have no value.
        self.constants: list[Any] = list(
            dict.fromkeys([*system.parameters, *constants])
        )
        self.names: dict[Any, str] = {time: "lg.time"}
        for symbol in (*L.coordinates, *self.constants):
            name = symbol.name
            while name in _TAKEN or name in self.names.values():
                name += "_"
            self.names[symbol] = name
        self._printer = _Printer(self.names)

    def written(self, expression: Any) -> str:
        """An expression as Python.

        Raises:
            LagrangianError: a part of it has no such form.
        """
        return self._printer.doprint(expression)

    def generator(self, symmetry: Symmetry) -> str:
        """A generator as Python."""
        moved = self.mapping(symmetry.xi)
        tau = "" if symmetry.tau == 0 else f", tau={self.written(symmetry.tau)}"
        return f"lg.Symmetry({moved}{tau})"

    def mapping(self, values: Mapping[Any, Any]) -> str:
        """A mapping from symbols to numbers or expressions, as Python."""
        entries = (
            f"{self.written(key)}: "
            + (repr(value) if isinstance(value, float) else self.written(value))
            for key, value in values.items()
        )
        return f"{{{', '.join(entries)}}}"

    @property
    def system_lines(self) -> list[str]:
        """From the coordinates to `L`."""
        L = self.system.lagrangian
        lines = list(_made("lg.coordinates", "Coordinate", L.coordinates, self.names))
        lines += _made("sp.symbols", "Symbol", self.constants, self.names)
        lines += [f"T = {self.written(L.T)}", f"V = {self.written(sp.sympify(L.V))}"]
        options = []
        for name in ("damping", "dissipation"):
            if (part := getattr(L, name)) != 0:
                options.append(f"{name}={self.written(part)}")
        if L.forces:
            options.append(f"forces={self.mapping(L.forces)}")
        if held := L.constraints.expressions:
            options.append(f"constraints=[{', '.join(map(self.written, held))}]")
        listed = ", ".join(self.names[q] for q in L.coordinates)
        options.append(f"coordinates=[{listed}]")
        return [*lines, f"L = lg.Lagrangian(T, V, {', '.join(options)})"]

    @property
    def motion_lines(self) -> list[str]:
        """From `L` to `flow`, with the start of its motion."""
        return [
            f"values = {self.mapping(self.system.parameters)}",
            f"start = {self.mapping(self.system.positions)}",
            f"velocity = {self.mapping(self.system.velocities)}",
            "flow = lg.lower(L, values)",
        ]

    def whole(self, lines: Iterable[str] = ()) -> str:
        """A script of its own: imports, the system, and these lines."""
        system = self.system_lines
        needs = any("sp." in line for line in (*system, *lines))
        head = ["import lagrangian as lg"] + ["import sympy as sp"] * needs
        return "\n".join([*head, "", *system, *lines]) + "\n"


def _made(
    function: str, kind: str, symbols: Iterable[Any], names: Mapping[Any, str]
) -> Iterable[str]:
    """Lines that make symbols, one for all that are assumed alike."""
    alike: dict[str, list[Any]] = {}
    for symbol in symbols:
        assumed = sp.srepr(symbol).removeprefix(f"{kind}({symbol.name!r}")[:-1]
        if kind == "Coordinate":  # which are real unless something else is said
            assumed = assumed.removeprefix(", 0").replace(", real=True", "")
        alike.setdefault(assumed, []).append(symbol)
    for assumed, group in alike.items():
        made = ", ".join(names[s] for s in group)
        yield f'{made} = {function}("{" ".join(s.name for s in group)}"{assumed})'


class _Printer(StrPrinter):
    # SymPy's own, by which symbols would print themselves, is not asked.
    printmethod = "_lagrangian_script"

    def __init__(self, names: Mapping[Any, str]):
        super().__init__({"full_prec": True})
        self._names = names

    def _print_Symbol(self, expr: Any) -> str:
        if expr not in self._names:
            raise LagrangianError(
                f"`{expr}` is no symbol of this system. Write it in those that it has."
            )
        return self._names[expr]

    def _print_Coordinate(self, expr: Any) -> str:
        dots = f".{'d' * expr.order}ot" if expr.order else ""
        return self._print_Symbol(expr.base) + dots

    def _print_Rational(self, expr: Any) -> str:
        return f"sp.Rational({expr.p}, {expr.q})"

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        text = super()._print_Pow(expr, rational)
        root = expr.exp in (sp.S.Half, -sp.S.Half) and not rational
        return text.replace("sqrt(", "sp.sqrt(", 1) if root else text

    def _print_Function(self, expr: Any) -> str:
        name = expr.func.__name__
        if getattr(sp, name, None) is not expr.func:
            raise LagrangianError(
                f"`{name}` is no function of SymPy's. Write it in those."
            )
        return f"sp.{name}({self.stringify(expr.args, ', ')})"

    _print_LatticeOp = _print_Function

    def _print_NumberSymbol(self, expr: Any) -> str:
        return f"sp.{expr}"

    _print_Exp1 = _print_Pi = _print_ImaginaryUnit = _print_NumberSymbol

    def emptyPrinter(self, expr: Any) -> str:
        raise LagrangianError(f"`{expr}` cannot be written as Python. Save a TOML.")
