"""What a type checker knows of a user's script; `make check` reads it, nothing runs it.

Where a comment says that something is to be ignored, it must be an error.
"""

from typing import assert_type

import sympy as sp

import lagrangian as lg


def script() -> None:
    x = lg.coordinates("x")
    system = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)

    law = lg.noether(system, lg.TimeTranslation())
    assert_type(law, lg.Law)
    assert_type(law.charge, sp.Expr)
    assert_type(law.is_conserved, bool | None)
    assert_type(law.oscillator, lg.Oscillator | None)
    phi = lg.fields("phi", over="t x")
    assert_type(
        lg.noether(lg.FieldTheory(phi.d("t") ** 2), lg.Translation(phi)), lg.Law
    )
    assert_type(
        lg.noether(lg.HigherOrderLagrangian(x.ddot**2), lg.Translation(x)), lg.Law
    )
    assert_type(lg.noether(lg.Steps(lg.Scale("w").loss), lg.Scale("w")), lg.Law)
    lg.noether(system)  # ty: ignore[missing-argument]
    lg.noether(system, lg.TimeTranslation(), 3)  # ty: ignore[too-many-positional-arguments]
    lg.noether(system, lg.TimeTranslation(), nonsense=4)  # ty: ignore[unknown-argument]
    lg.noether(1, lg.TimeTranslation())  # ty: ignore[invalid-argument-type]
    lg.noether(system, 2)  # ty: ignore[invalid-argument-type]
    lg.Sympletic(0.1)  # ty: ignore[missing-attribute]

    flow = lg.lower(system)
    path = flow.integrate({x: 1.0}, {x: 0.0}, t=(0, 1))
    assert_type(path, lg.Trajectory)
    flow.integrate({x: 1.0}, {x: 0.0}, t=(0, 1), tol="fine")  # ty: ignore[invalid-argument-type]
    flow.section({x: 1.0}, {x: 0.0}, x, t=(0, 1)).energy_drift.upper()  # ty: ignore[missing-attribute]
    lg.lower("text")  # ty: ignore[no-matching-overload]

    rule: lg.Rule = lg.HeavyBall(0.1)
    print(rule)
    lg.HeavyBall(learning_rate="fast")  # ty: ignore[invalid-argument-type]
    try:
        flow.integrate({x: 1.0}, {x: 0.0}, t=(0, 1))
    except lg.errors.LagrangianError as error:
        print(error)
