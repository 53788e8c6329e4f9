"""A lesson without its page: what comes of it, and why its laws hold or fail."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.learning.checking.report import ABSENT, APPROXIMATE, FAILS, HOLDS
from lagrangian.studio.learning import Lesson, Progress, Stage, Table, taught
from lagrangian.studio.reasons import why
from lagrangian.studio.style import table


def taught_with(learning_rate, steps=40, **options):
    numbers = (("learning_rate", learning_rate), ("momentum", 0.9))
    asked = {"model": "", "data": "gaussian-mixture", "rule": "heavy-ball"} | options
    lesson = Lesson(**asked, numbers=numbers, steps=steps, batch_size=64, seed=0)
    return list(taught(lesson))


def test_a_lesson_says_what_it_does_and_how_far_it_is():
    parts = taught_with(0.05)
    done = [p.done for p in parts if isinstance(p, Stage) and p.done is not None]
    assert done == sorted(done) and done[-1] == 40 and len(done) > 5
    symmetries, verdicts = (p for p in parts if isinstance(p, Table))
    assert len(symmetries.cells) == len(symmetries.good) + 1
    assert all(verdicts.good) and all(verdicts.notes)
    last = [p for p in parts if isinstance(p, Progress)][-1]
    assert len(last.losses) == 40
    moving = [curve for curve in last.curves if np.ptp(curve.measured) > 1e-3]
    assert moving
    for curve in moving:
        missed = np.abs(curve.predicted - curve.measured).max()
        assert missed < 0.01 * np.ptp(curve.measured)


# ------------------------------------------------------------------ reasons


def row_of(loss, model, rule=None, symmetry=None, steps=50, **options):
    data = np.random.default_rng(0).normal(size=(64, 3))
    rule = rule or lg.HeavyBall(0.01, momentum=0.9)
    symmetry = symmetry or lg.Scale("w")
    run = lg.train(model, loss, data, rule, steps, observe=[symmetry], **options)
    return lg.check(run)[0]


def scale_invariant(model, batch, epsilon=0.0):
    w = model["w"]
    return ((batch @ w) ** 2).mean() / ((w**2).sum() + epsilon)


WEIGHTS = {"w": np.array([1.0, 0.5, -0.2])}


def test_why_a_law_holds():
    row = row_of(scale_invariant, WEIGHTS)
    said = " ".join(why(row))
    assert row.verdict == HOLDS
    assert "Both laws" in said and "100% the steps themselves" in said


@pytest.mark.parametrize(
    ("epsilon", "verdict", "said"),
    [(1e-3, APPROXIMATE, "Make the epsilon"), (5.0, ABSENT, "no premise")],
)
def test_why_a_symmetry_is_none(epsilon, verdict, said):
    row = row_of(lambda m, b: scale_invariant(m, b, epsilon), WEIGHTS)
    assert row.verdict == verdict
    assert said in " ".join(why(row)) and "the slope of the loss" in " ".join(why(row))


def test_why_a_continuous_law_fails():
    rule = lg.HeavyBall(2.0, momentum=0.9, weight_decay=0.2)
    row = row_of(scale_invariant, WEIGHTS, rule)
    assert row.verdict == FAILS
    said = " ".join(why(row))
    assert "Halve the learning rate" in said and "the weight decay" in said


def test_nothing_moved_is_not_said_to_be_the_slope():
    """Of a translation only rounding is left."""

    def loss(model, batch):
        return ((batch @ (model["w"] - model["w"].mean())) ** 2).mean()

    row = row_of(loss, WEIGHTS, symmetry=lg.Translation("w"))
    assert row.verdict == HOLDS
    assert "slope" not in " ".join(why(row))


# ------------------------------------------------------------------ tables


def test_a_table_escapes_what_is_in_it_and_marks_what_failed():
    hostile = "<img src=x onerror=alert(1)>"
    html = table([("a", "b"), (hostile, "holds"), ("1", "fails")], [True, False],
                 [(), (hostile,)])  # fmt: skip
    assert "<img" not in html and html.count("&lt;img") == 2
    assert 'class="bad"' in html and "Why does this law fail?" in html
