import pickle

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets


def test_a_coordinate_carries_its_derivatives():
    q = lg.coordinates("q")
    assert q.dot.base == q and q.ddot == q.dot.dot
    assert (q.order, q.dot.order, q.ddot.order) == (0, 1, 2)
    assert q.dot is q.dot  # one object, so that SymPy compares by identity


def test_symbols_that_look_alike_are_not_equal():
    q = lg.coordinates("q")
    others = [q.dot, sp.Symbol("q", real=True), lg.blocks("q")]
    assert all(q != other for other in others)
    assert lg.blocks("w", unit_axis=0) != lg.blocks("w", unit_axis=1)


def test_names_make_one_or_many_and_ranges():
    assert isinstance(lg.coordinates("q"), Coordinate)
    assert [q.name for q in lg.coordinates("q1:4")] == ["q1", "q2", "q3"]


def test_jets_are_in_natural_order_of_name():
    names = lg.coordinates("theta10 theta2 x")
    found = jets(sum(names) + names[1].dot)
    assert [str(c) for c in found] == ["theta2", "theta2.dot", "theta10", "x"]


@pytest.mark.parametrize(
    ("order", "text", "latex"),
    [
        (0, "theta", r"\theta"),
        (1, "theta.dot", r"\dot{\theta}"),
        (2, "theta.ddot", r"\ddot{\theta}"),
    ],
)
def test_printing(order, text, latex):
    symbol = lg.coordinates("theta")
    for _ in range(order):
        symbol = symbol.dot
    assert str(symbol) == text
    assert sp.latex(symbol) == latex


def test_parameter_paths_print_upright():
    assert sp.latex(lg.blocks("conv_1.kernel")) == r"\mathrm{conv\_1.kernel}"


@pytest.mark.parametrize(
    "symbol", [lg.coordinates("q").dot, lg.blocks("w", unit_axis=-1).ddot]
)
def test_pickling_keeps_what_a_symbol_is(symbol):
    copy = pickle.loads(pickle.dumps(symbol))
    assert copy == symbol and copy.dot == symbol.dot
    assert getattr(copy, "unit_axis", None) == getattr(symbol, "unit_axis", None)
