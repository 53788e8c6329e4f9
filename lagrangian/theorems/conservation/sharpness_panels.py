"""The figure of `charge-sets-sharpness`: minima and rates over the charge."""

from __future__ import annotations

from typing import Any

import numpy as np

from lagrangian.theorems.conservation.sharpness_runs import (
    Bottleneck,
    end_of,
    flow_of,
    last_rate,
    trained_sharpness,
)
from lagrangian.theorems.theorem import Curve, Panel


def sharpness_panel(net: Bottleneck, charges: tuple[float, ...]) -> Panel:
    s, line = net.strength, np.linspace(-4, 4, 81)
    x = 2 * np.sort(np.array(charges))
    found = np.array([end_of(net, flow_of(net, q / 2)[0]) for q in x])
    curves = (
        Curve("end of the flow", x, found / s, "points"),
        Curve("sqrt(Q^2 + 4 s^2)", line, np.hypot(line, 2), "predicted"),
        Curve("as of Q = 0", line[::10], np.full(9, 2.0), "control"),
    )
    return Panel("one network at several charges", "Q/s", "sharpness/s", curves)


def rate_panel(net: Bottleneck, charges: tuple[float, ...], few: Any) -> Panel:
    s, line = net.strength, np.linspace(-4, 4, 81)
    curves = []
    for aligned, ratios in ((False, charges), (True, few)):
        x = np.sort(np.array(ratios))
        found = [last_rate(net, flow_of(net, q, aligned)[0]) / s for q in x]
        said = "aligned" if aligned else "generic"
        curves.append(Curve(f"{said} start", 2 * x, np.array(found), "points"))
    top = np.hypot(line, 2)
    curves += [
        Curve("sqrt(Q^2 + 4 s^2) - |Q|", line, top - abs(line), "predicted"),
        Curve("2 sqrt(Q^2 + 4 s^2)", line, 2 * top, "predicted"),
    ]
    title = "imbalance helps one mode and slows the others"
    return Panel(title, "Q/s", "last rate of the loss/s", tuple(curves))


def decay_panel(net: Bottleneck, charges: tuple[float, ...]) -> Panel:
    curves = []
    for ratio in charges:
        path, rate = flow_of(net, ratio)
        t, excess = path.t * net.strength, net.excess(path.q)
        last = excess > 1e-15
        t, excess = t[last], excess[last]
        curves.append(Curve(f"Q = {2 * ratio:g} s", t[::8], excess[::8]))
        line = excess[-1] * np.exp(-rate / net.strength * (t - t[-1]))
        shown = line < 1
        label = "_nolegend_" if len(curves) > 1 else "predicted rate"
        curves.append(Curve(label, t[shown], line[shown], "predicted"))
    title = "excess loss of digits, generic start"
    return Panel(title, "s t", "excess/s^2", tuple(curves), ylog=True)


def training_panel(net: Bottleneck) -> Panel:
    rates, found, top = trained_sharpness(net)
    x, s = rates * top / 2, net.strength
    error = abs(found - top) / s
    curves = (
        Curve("gradient descent, Q = 2 s", x, error),
        Curve("order 1", x, error[-1] * x / x[-1], "predicted"),
        Curve("as of Q = 0", x, abs(found - 2 * s) / s, "control"),
    )
    title = "sharpness after training"
    return Panel(title, "eta sharpness/2", "error/s", curves, True, True)
