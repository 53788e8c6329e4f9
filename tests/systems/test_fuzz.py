"""No text hangs, bursts, or is evaluated; by thousands, each within a budget."""

import os
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, seed, settings

from lagrangian.systems import arithmetic, expression
from lagrangian.systems.budget import OverBudget, limited_calls
from lagrangian.systems.spec import MAX_WORK

from . import fuzz


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )


@pytest.fixture(scope="module", autouse=True)
def hook():
    fuzz.install()


@pytest.mark.parametrize(
    "text",
    [
        "24^0.7071067812",
        "(24*x)^0.7071067812",
        "x^0.7071067812*24^(x*0.7071067812)",
        "abs(exp(exp(exp(exp(2)))))",
        "abs(exp(exp(exp(1))) - exp(exp(exp(1))))",
        "sqrt(exp(exp(exp(3))) - x)",
        "abs(sqrt(2 + sqrt(3 + sqrt(5))) - sqrt(2 + sqrt(3 + sqrt(5))) + x*0)",
        "sqrt(sqrt(sqrt(5)-2)-sqrt(sqrt(3)-1)+sqrt(2))",
        "1e99999999999999999999",
        "acos(cos(1e308))",
        "exp(1e9*log(2*x))",
        "2^(1e9*log(x)/log(2))",
        "(2*x)^999^9",
        "((((2*x)^999)^999)^999)^999",
        "sin(1e308*pi)*cos(1e300*x)",
        "9^9^9^9^9^9",
        "x/3" + "".join(f"+x/{p}" for p in range(5, 2000, 2)),
        "*".join(["(x+y)"] * 3000),
        "*".join(f"(x+{i})" for i in range(2000)),
        "+".join(f"sqrt({i})" for i in range(1, 1500)),
        "abs(" + "+".join(f"sqrt({i})" for i in range(1, 1500)) + "+x)",
        "sqrt((" + "+".join(f"{i}*x^{i}" for i in range(1, 300)) + ")^2)",
        "1/" * 4000 + "x",
        "x^" * 49 + "x",
        "(" * 49 + "x" + "+1)^2" * 49,
        "(" * 49 + "x" + "*y+1)^-1" * 49,
        "tanh(" * 6 + "x^y" + ")" * 6,
        "170141183460469231731687303715884105727^(1/2)",
        "sqrt(170141183460469231731687303715884105727*x)",
    ],
    ids=lambda text: text[:30],
)
def test_what_hung_or_burst(text):
    fuzz.check(text, MAX_WORK)


@examples(2000)
@given(fuzz.TEXTS)
def test_2000_texts(text):
    fuzz.check(text)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(50))
def test_100_000_texts(part):
    @examples(2000)
    @seed(part)
    @given(fuzz.TEXTS)
    def run(text):
        fuzz.check(text)

    run()


def test_the_hook_sees_what_is_evaluated(monkeypatch):
    """The control: a reader that evaluates is caught, at its first word."""
    for evaluates in (eval, lambda text, _: open(text), lambda *_: os.system("true")):
        monkeypatch.setattr(
            fuzz, "parse_expression", lambda text, _, do=evaluates: do(text, {})
        )
        with pytest.raises(fuzz.Evaluated):
            fuzz.watched("1 + 1")


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        ("MAX_CHARACTERS", "+x*y" * 20_000),
        ("MAX_DEPTH", "x^" * 200 + "x"),
        ("MAX_DEPTH", "(" * 3000 + "x" + ")" * 3000),
        ("MAX_CALLS", "tanh(" * 14 + "x^y" + ")" * 14),
        ("MAX_FACTORS", "*".join(f"(x+{i})" for i in range(1200))),
    ],
    ids=lambda text: text[:16],
)
def test_without_a_bound_a_text_is_over_the_budget(bound, text, monkeypatch):
    assert fuzz.watched(text) is None
    monkeypatch.setattr(expression, bound, 10**12)
    with pytest.raises((OverBudget, RecursionError)):
        fuzz.check(text)


def test_without_bounds_on_numbers_they_have_millions_of_digits(monkeypatch):
    def most_memory(text):
        tracemalloc.start()
        try:
            return fuzz.watched(text), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    power = "(2*x)^80000000"
    assert most_memory(power)[1] < 10**6
    with monkeypatch.context() as patch:
        patch.setattr(arithmetic, "MAX_EXPONENT", 10**12)
        assert most_memory(power)[1] > 10**7

    harmonic = "x*(" + "+".join(f"1/{p}" for p in range(3, 600, 2)) + ")"
    assert arithmetic._bits(fuzz.watched(harmonic)) <= arithmetic.MAX_BITS
    monkeypatch.setattr(arithmetic, "MAX_BITS", 10**12)
    assert arithmetic._bits(fuzz.watched(harmonic)) > 800


def test_the_budget_ends_what_would_not_end():
    def endless():
        while True:
            int.__add__(1, 1), (lambda: 0)()

    before = sys.getprofile()
    with pytest.raises(OverBudget), limited_calls(1000):
        endless()
    assert sys.getprofile() is before
    with limited_calls(1000):
        [(lambda: 0)() for _ in range(900)]


@pytest.mark.parametrize("most", range(40, 52))
def test_an_error_that_python_drops_does_not_end_the_budget(most):
    """As it is where a generator is closed because nobody holds it."""

    def generator():
        try:
            yield
        finally:
            [(lambda: 0)() for _ in range(4)]

    with pytest.raises(OverBudget), limited_calls(most):
        for _ in range(1000):
            next(generator())
