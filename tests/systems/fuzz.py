"""Hostile text: what it is made of, and a hook that sees whether any is evaluated."""

import sys

import sympy as sp
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.symbolic.algebra.graph import partials
from lagrangian.systems.arithmetic import FUNCTIONS
from lagrangian.systems.budget import limited_calls
from lagrangian.systems.expression import InvalidExpression, parse_expression

x, y = lg.coordinates("x y")
m, k = sp.symbols("m k", real=True)
NAMES = {"x": x, "y": y, "x.dot": x.dot, "y.dot": y.dot, "m": m, "k": k}

#: Calls of Python in which any short text is read or refused.
READ = 400_000

NUMBERS = st.sampled_from(
    ["0", "1", "2", "3", "24", "10", "0.7071067812", "1e-3", "0.1", "1e9", "1e308"]
    + ["1e-308", "1e99999999999999999999", "123456789012345678901234567890", "pi"]
    + [
        "1000000007",
        "0.333333333333",
        "9",
        "1.5",
        "170141183460469231731687303715884105727",
    ]
)
ATOMS = st.one_of(NUMBERS, st.sampled_from(sorted(NAMES)))


def _grown(inner):
    name = st.sampled_from(sorted(FUNCTIONS))
    unary = st.tuples(name, inner).map(lambda p: f"{p[0]}({p[1]})")
    pair = st.tuples(inner, st.sampled_from("+-*/^"), inner)
    tower = st.tuples(
        st.sampled_from(["exp", "sqrt", "abs", "log", "cosh", "tan", "acos"]),
        st.integers(1, 6),
        inner,
    )
    return st.one_of(
        unary,
        pair.map(lambda p: f"({p[0]}){p[1]}({p[2]})"),
        pair.map("".join),
        tower.map(lambda t: f"{t[0]}(" * t[1] + t[2] + ")" * t[1]),
        st.tuples(inner, inner).map(lambda p: f"atan2({p[0]}, {p[1]})"),
        st.lists(inner, min_size=2, max_size=6).map("+".join),
        st.lists(inner, min_size=2, max_size=6).map("*".join),
    )


#: Expressions of the grammar that a person would not write.
HOSTILE = st.recursive(ATOMS, _grown, max_leaves=14)
#: Pieces in no order, and any text at all.
PIECES = st.sampled_from(
    [
        *NAMES,
        *FUNCTIONS,
        *"+-*/^(),.;[]{}'\"\\=_ \n",
        "**",
        "pi",
        "1e3",
        "0x1",
        "lambda",
    ]
    + [
        "__import__('os').system('true')",
        "().__class__",
        "exec",
        "eval",
        "\0",
        "\ud800",
    ]
)
TEXTS = st.one_of(
    HOSTILE,
    HOSTILE,
    st.lists(PIECES, max_size=25).map("".join),
    st.text(max_size=40),
)


class Evaluated(BaseException):
    """Something was compiled, executed, opened or started."""


_FORBIDDEN = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "tempfile.")
_watching = False


def _hook(event, arguments):
    if not _watching:
        return
    if event in ("exec", "compile", "open", "import") or event.startswith(_FORBIDDEN):
        raise Evaluated(event, arguments)


def watched(text, most=READ):
    """Read one text while nothing may be evaluated; the expression, or None."""
    global _watching
    _watching = True
    try:
        with limited_calls(most):
            return parse_expression(text, NAMES)
    except InvalidExpression as error:
        assert 0 <= error.position <= len(text)
        assert str(error).endswith("^")
        return None
    finally:
        _watching = False


def check(text, most=READ):
    """Read it, and differentiate what it gives, within the budget of either."""
    value = watched(text, most)
    if value is None:
        return
    assert isinstance(value, sp.Expr)
    assert value.free_symbols <= set(NAMES.values())
    assert not value.has(sp.I, sp.oo, -sp.oo, sp.nan, sp.zoo)
    with limited_calls(10 * most):
        partials(value, [x, x.dot])


def install():
    """Add the hook, which stays but sleeps; and load what SymPy loads when asked."""
    for name, (_, _, count) in FUNCTIONS.items():
        for arguments in (["1" if name == "acosh" else "1/3", "x*y^2"], ["x", "2"]):
            parse_expression(f"{name}({', '.join(arguments[:count])})", NAMES)
    for text in ("sqrt(2*x^2+1)", "x^-0.123456", "abs(-2*x*y)", "3^x^y", "sin(x+pi/7)"):
        partials(parse_expression(text, NAMES), [x])
    sys.addaudithook(_hook)
