"""The expressions of spec files: what they mean, and what they refuse."""

import sys

import pytest
import sympy as sp
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.systems.expression import (
    FUNCTIONS,
    MAX_CALLS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_FACTORS,
    InvalidExpression,
    parse_expression,
)

x, y = lg.coordinates("x y")
m, k = sp.symbols("m k", real=True)
NAMES = {"x": x, "y": y, "x.dot": x.dot, "y.dot": y.dot, "m": m, "k": k}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m*x.dot^2/2", m * x.dot**2 / 2),
        ("m * x.dot**2 / 2", m * x.dot**2 / 2),
        ("-x^2", -(x**2)),
        ("2^3^2", 512),
        ("2^-1", sp.Rational(1, 2)),
        ("2*-x", -2 * x),
        ("--x - +y", x - y),
        ("x - y - m", x - y - m),
        ("m/k/x", m / (k * x)),
        ("m/k*x", m * x / k),
        ("(x + y)\n  * k", (x + y) * k),
        ("sqrt(x^2 + y^2)", sp.sqrt(x**2 + y**2)),
        ("atan2(y, x)", sp.atan2(y, x)),
        ("exp(-x)*log(m)", sp.exp(-x) * sp.log(m)),
        ("abs(x)", sp.Abs(x)),
        ("cos(pi/3)", sp.Rational(1, 2)),
        ("x^0.5", sp.sqrt(x)),
        ("0.1 + 0.2 - 0.3", 0),
        ("1.5e-3*m", sp.Rational(3, 2000) * m),
        (".5*m + 1.", m / 2 + 1),
    ],
)
def test_what_expressions_mean(text, value):
    assert parse_expression(text, NAMES) == value


def test_functions_are_sympys():
    for name, (function, _, count) in FUNCTIONS.items():
        arguments = (x, y)[:count]
        written = f"{name}({', '.join(str(a) for a in arguments)})"
        assert parse_expression(written, NAMES) == function(*arguments)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "expected a number, a name or `(`, and got the end", 0),
        ("x +", "and got the end", 3),
        ("x y", "no operator before `y`. Write `*`", 2),
        ("2x", "no operator before `x`", 1),
        ("x)", "`)` without a `(`", 1),
        ("(x", "expected `)` and got the end; `(` was opened at column 1", 2),
        ("x, y", "`,` without a `(`", 1),
        ("x + * y", "and got `*`", 4),
        ("m*xx", "unknown name `xx`. Nearest: `x", 2),
        ("x.ddot", "Accelerations follow", 0),
        ("m.dot", "unknown name `m.dot`", 0),
        ("sn(x)", "unknown function `sn`. Nearest: `sin`", 0),
        ("m(x)", "For a product, write `m*(...)`", 0),
        ("2*sin x", "`sin` is a function. Write `sin(...)`", 2),
        ("sin(x, y)", "`sin` takes 1 argument, and got 2", 0),
        ("atan2(x)", "`atan2` takes 2 arguments, and got 1", 0),
        ("x = y", "`=` has no meaning", 2),
        ("x²", "`²` has no meaning", 1),
        ("x % 2", "`%` has no meaning", 2),
        ("__import__('os')", "unknown function `__import__`", 0),
        ("m*1/(x - x)", "not finite", 3),
        ("x + log(0)", "not finite", 4),
        ("sqrt(-4)", "not real", 0),
        ("(-8)^(1/3)", "not real", 4),
        ("x + acos(2)", "not real", 4),
        ("log(-1)", "not real", 0),
        ("1e999", "outside of float64", 0),
        ("1" * 101, "outside of float64", 0),
        ("9^9^9", "too large", 1),
        ("(2*x)^1000000000", "too large", 5),
        ("x + exp(10^9*log(2))", "too large", 4),
        ("x + 2^1000" + "*2^1000" * 20, "too large", 4),
    ],
)
def test_errors_show_the_place(text, message, column):
    with pytest.raises(InvalidExpression) as raised:
        parse_expression(text, NAMES)
    sentence, line, caret = str(raised.value).split("\n")
    assert message in sentence
    assert raised.value.position == column
    assert caret == " " * (column + 2) + "^" and line[2:] == text[:78].rstrip()


def test_the_caret_is_in_its_own_line_and_a_long_line_is_cut():
    with pytest.raises(InvalidExpression) as raised:
        parse_expression("x\n+ zz", NAMES)
    assert str(raised.value).split("\n")[1:] == ["  + zz", "    ^"]
    with pytest.raises(InvalidExpression) as raised:
        parse_expression("x + " * 500 + "zz", NAMES)
    _, line, caret = str(raised.value).split("\n")
    assert len(line) <= 80 and line[caret.index("^") :] == "zz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * (MAX_DEPTH + 1) + "x", "levels of parentheses"),
        ("x^" * (MAX_DEPTH + 1) + "x", "levels of parentheses"),
        ("sin(" * (MAX_CALLS + 1) + "x", "functions inside of one another"),
        ("x" * (MAX_CHARACTERS + 1), "characters; at most"),
        ("*".join(f"(x+{i})" for i in range(MAX_FACTORS + 1)), "different factors"),
    ],
)
def test_absurd_depth_and_size_are_refused(text, message):
    with pytest.raises(InvalidExpression, match=message):
        parse_expression(text, NAMES)


def test_what_is_just_within_the_limits_is_read():
    depth = "(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH
    assert parse_expression(depth, NAMES) == x
    calls = parse_expression("tanh(" * MAX_CALLS + "x^y" + ")" * MAX_CALLS, NAMES)
    assert calls.count(sp.tanh) == MAX_CALLS
    long = parse_expression(" + ".join(["x"] * (MAX_CHARACTERS // 4)), NAMES)
    assert long == MAX_CHARACTERS // 4 * x
    product = parse_expression("*".join(["(x + 1)"] * 2000), NAMES)
    assert product == (x + 1) ** 2000


LEAVES = st.one_of(
    st.sampled_from([*NAMES.values(), sp.pi, sp.sqrt(2), sp.log(3), sp.cos(sp.pi / 7)]),
    st.fractions(-50, 50, max_denominator=20).map(sp.Rational),
)


def grow(inner):
    pair = st.tuples(inner, inner)
    # Of numbers, many functions are complex, which SymPy may take a minute to find out.
    varying = inner.filter(lambda e: e.free_symbols)
    return st.one_of(
        pair.map(lambda p: p[0] + p[1]),
        pair.map(lambda p: p[0] - p[1]),
        pair.map(lambda p: p[0] * p[1]),
        st.tuples(varying, inner).map(lambda p: sp.atan2(*p)),
        st.tuples(inner, st.fractions(-4, 4, max_denominator=3)).map(
            lambda p: p[0] ** sp.Rational(p[1])
        ),
        st.tuples(
            varying, st.sampled_from([f for f, _, n in FUNCTIONS.values() if n == 1])
        ).map(lambda p: p[1](p[0])),
    )


#: A point in general position, by symbol.
POINT = {s: sp.Rational(7 + 3 * i, 11 + i) for i, s in enumerate(NAMES.values())}


def same(parsed, expression):
    """Structurally, or to 25 digits at a point, as far as the constants are exact.

    SymPy itself may hold 32*sqrt(2)*2**(3/4) and print it, but reads 64*2**(1/4). A
    constant of many parts is a float, which is off by its rounding and that of its
    parts: then the value may differ by what that changes.
    """
    if parsed == expression:
        return True
    constants = [e for e in sp.preorder_traversal(expression) if not e.free_symbols]
    sizes = [abs(e.evalf(20)) for e in constants if isinstance(e, sp.Expr)]
    assume(all(size.is_finite for size in sizes))
    # Of 2 x sqrt(3) pi, SymPy has the parts of the constant, and not the whole.
    floats = sorted(parsed.atoms(sp.Float))
    sizes += map(abs, floats)
    rounding = sp.Float("1e-14", 40) * max(sizes, default=1)
    moved = [parsed.xreplace({f: sp.Float(f, 40) + rounding}) for f in floats]
    values = [e.xreplace(POINT).evalf(40) for e in (parsed, expression, *moved)]
    assume(all(value.is_number and value.is_finite for value in values))
    value, expected, *others = values
    allowed = sum(abs(other - value) for other in others)
    return abs(value - expected) <= 2 * allowed + 1e-25 * (1 + abs(value))


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, grow, max_leaves=12))
@example(sp.sympify("205379*3**(1/3)*59**(2/3)*pi/81") * NAMES["x"])
def test_parsing_what_is_printed_gives_it_back(expression):
    # What has no finite real value is refused (tested above).
    refused = (sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I, sp.AccumBounds, sp.re)
    assume(not expression.has(*refused))
    assume(not any(p.base.is_negative for p in expression.atoms(sp.Pow)))
    assume(all(abs(n.p * n.q) < 10**80 for n in expression.atoms(sp.Rational)))
    # SymPy prints exp(1) so, and a user's E is a symbol.
    assert same(parse_expression(str(expression), NAMES | {"E": sp.E}), expression)


FRAGMENTS = st.sampled_from(
    [*NAMES, *FUNCTIONS, *"+-*/^(),.", "**", " ", "pi", "0", "1", "2.5", "1e3", "\n"]
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(FRAGMENTS, max_size=25).map("".join)))
@example("0**0**0")
@example("(" * 300)
@example("-" * 5000 + "x")
@example("\ud800")
def test_any_text_is_an_expression_or_our_own_error(text):
    try:
        value = parse_expression(text, NAMES)
    except InvalidExpression as error:
        assert 0 <= error.position <= len(text)
        assert str(error).endswith("^")
    else:
        assert isinstance(value, sp.Expr)
        assert value.free_symbols <= set(NAMES.values())


def test_deep_text_does_not_touch_the_recursion_limit():
    limit = sys.getrecursionlimit()
    for text in ("(" * 15_000, "-" * 15_000, "sin(" * 4000, "2^" * 9000):
        with pytest.raises(InvalidExpression):
            parse_expression(text, NAMES)
    assert sys.getrecursionlimit() == limit
