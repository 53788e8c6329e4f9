"""No flow is silently wrong: right to its tolerance, or refused by name.

The cases, the true motions and the measure are in the folder `trust`.
"""

import dataclasses

import numpy as np
import pytest

from .trust import drivers, suite
from .trust.equations import numpy_field
from .trust.measure import DEFAULT_TOL, TOLERANCES, compare, judge, verdicts

#: Tolerances of `flow_map` and `ensemble`, and what they take if none is given.
OTHERS = {drivers.flow_map: 1e-12, drivers.ensemble: 1e-6}


def complaints(problem, tolerances, driver=drivers.integrate):
    """A line for every run that is not right."""
    default = OTHERS.get(driver, DEFAULT_TOL)
    found = verdicts(problem, suite.reference, tolerances, driver, default)
    return [
        f"{case.name}, tol {tol or 'default'}: {verdict.word}; "
        f"error {verdict.error:.1e} tol x growth, {verdict.relative:.1e} of the scale. "
        f"{verdict.message}"
        for case, tol, verdict in found
        if verdict.word != "right"
    ]


def named(problems):
    return [pytest.param(p, id=p.name.replace(" ", "_")) for p in problems]


@pytest.mark.parametrize("problem", named(suite.problems(quick=True)))
def test_no_quick_case_is_wrong_or_refused(problem):
    found = complaints(problem, [None])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-14])
@pytest.mark.parametrize("problem", named(suite.problems(quick=True)[::12]))
def test_no_tolerance_makes_a_quick_case_wrong_or_refused(problem, tol):
    found = complaints(problem, [tol])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("driver", OTHERS)
@pytest.mark.parametrize("problem", named(suite.problems(quick=True)[::10]))
def test_ensembles_and_flow_maps_are_right_too(problem, driver):
    found = complaints(problem, [None], driver)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("problem", named(suite.problems()))
def test_no_case_is_wrong_or_refused_at_any_tolerance(problem):
    found = complaints(problem, TOLERANCES)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("driver", OTHERS)
@pytest.mark.parametrize("problem", named(suite.problems()))
def test_no_ensemble_or_flow_map_is_wrong_or_refused(problem, driver):
    found = complaints(problem, [1e-4, None, 1e-10], driver)
    assert not found, "\n".join(found)


def test_the_suite_is_large_and_every_case_has_its_reference():
    cases = [case for problem in suite.problems() for case in problem.cases]
    assert len(cases) >= 300
    assert len({case.name for case in cases}) == len(cases)
    known = [suite.reference(case) for case in cases if case.solvable]
    assert all(np.isfinite(r.states).all() for r in known)
    assert all((r.growth >= r.scale).all() for r in known)


@pytest.mark.parametrize(
    "name, known",
    [
        ("pendulum: level and 0", -1.4050273115),
        ("double-pendulum: at rest, equal angles", -0.6250877),
        ("x^4/4: zero", -1.1047044),
        ("x^2/2 + x^6/6: zero", 0.6046952),
        ("wall of width 0.5: reflected", -9.0383),
        ("k x^n/n: turning", 0.5959766),
        ("Duffing in SI: 1 nm", -0.250939390e-9),
    ],
)
def test_references_are_the_known_values(name, known):
    assert suite.reference(by_name(name)).states[-1, 0] == pytest.approx(
        known, rel=1e-5
    )


# --- controls: the measure sees what is wrong -----------------------------------------


def by_name(name):
    return next(c for p in suite.problems() for c in p.cases if c.name == name)


def fixed_steps(case, count):
    """Runge and Kutta's method of order 4 with steps that nothing controls."""
    field = numpy_field(case.problem)
    states = [np.concatenate([case.q, case.v])]
    for a, b in zip(case.times, case.times[1:], strict=False):
        y, h = states[-1], (b - a) / count
        for t in a + h * np.arange(count):
            k1 = field(t, y)
            k2 = field(t + h / 2, y + h / 2 * k1)
            k3 = field(t + h / 2, y + h / 2 * k2)
            k4 = field(t + h, y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(y)
    return np.array(states)


@pytest.mark.parametrize("name", ["henon-heiles: generic", "x^4/4: zero"])
def test_steps_that_are_too_long_are_wrong_and_short_ones_right(name):
    case = by_name(name)
    truth = suite.reference(case)
    assert compare(fixed_steps(case, 4), truth, 1e-6).word == "WRONG"
    assert compare(fixed_steps(case, 500), truth, 1e-6).word == "right"


def test_a_pulse_that_is_missed_is_wrong_at_every_tolerance():
    case = by_name("pulse at 15: rest, to its end")
    truth = suite.reference(case)
    for tol in TOLERANCES:
        assert judge(lambda: np.zeros((5, 2)), truth, tol or 1e-9).word == "WRONG"
        assert judge(lambda: truth.states, truth, tol or 1e-9).word == "right"


def test_an_error_in_one_small_component_is_seen():
    case = by_name("Duffing in SI: 1 nm")
    truth = suite.reference(case)
    growth = truth.growth / truth.scale
    wrong = truth.states.copy()
    wrong[-1, 0] += 1000 * 1e-9 * growth[0] * truth.scale[0]
    assert compare(wrong, truth, 1e-9).word == "WRONG"
    assert compare(wrong, truth, 1e-7).word == "right"


def test_motions_that_do_not_exist_must_be_refused():
    assert judge(lambda: np.zeros((5, 4)), None, 1e-9).word == "WRONG"


def test_a_reference_belongs_to_its_case():
    case = by_name("x^4/4: zero")
    moved = dataclasses.replace(
        case.problem, t=(0.0, 1.0), starts=dict(case.problem.starts)
    )
    moved.starts["zero"] = dataclasses.replace(case.start, v=[2.0])
    with pytest.raises(KeyError, match="has changed"):
        suite.reference(dataclasses.replace(case, problem=moved))
