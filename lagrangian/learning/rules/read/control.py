"""Branches and loops of a jaxpr, written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.read.primitives import chosen, each, select_n
from lagrangian.learning.rules.read.shapes import NoSymbolicForm


def _cond(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    which, *operands = inputs
    branches = [evaluation.closed(b, operands) for b in parameters["branches"]]
    if len(branches) == 2:
        no, yes = branches
        return [
            each(chosen)(None, np.broadcast_to(which, a.shape), a, b)
            for a, b in zip(yes, no, strict=True)
        ]
    return [
        select_n(np.broadcast_to(which, cases[0].shape), cases)
        for cases in zip(*branches, strict=True)
    ]


def _split_of(parameters: Any) -> tuple[int, int]:
    """How many of a scan's inputs are constants, and how many are carried."""
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    constants, carry, _ = parameters["ft_in"].unpack()  # from JAX 0.11 on
    return len(constants), len(carry)


def _scan(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    length = parameters["length"]
    fixed, carried = _split_of(parameters)
    if length > evaluation.longest_loop:
        raise NoSymbolicForm(f"scan over {length} steps")
    constants, carry = inputs[:fixed], inputs[fixed : fixed + carried]
    rows, collected = inputs[fixed + carried :], []
    order = reversed(range(length)) if parameters["reverse"] else range(length)
    for k in order:
        out = evaluation.closed(
            parameters["jaxpr"], [*constants, *carry, *(r[k] for r in _arrays(rows))]
        )
        carry = out[:carried]
        collected.append(out[carried:])
    if parameters["reverse"]:
        collected.reverse()
    stacked = [np.stack(column) for column in zip(*collected, strict=True)]
    return [*carry, *stacked]


def _arrays(rows: Any) -> list[Any]:
    """Arrays whose rows are arrays, those without an axis also."""
    return [[np.asarray(r, object).reshape(row.shape[1:]) for r in row] for row in rows]


def _while(evaluation: Any, inputs: Any, parameters: Any) -> list[Any]:
    first, second = parameters["cond_nconsts"], parameters["body_nconsts"]
    asked, done = inputs[:first], inputs[first : first + second]
    carry = inputs[first + second :]
    for _ in range(evaluation.longest_loop):
        (on,) = evaluation.closed(parameters["cond_jaxpr"], [*asked, *carry])
        if on[()] is sp.false:
            return carry
        if on[()] is not sp.true:
            raise NoSymbolicForm("while, a loop that ends when its values say so,")
        carry = evaluation.closed(parameters["body_jaxpr"], [*done, *carry])
    raise NoSymbolicForm("while, a loop of many steps,")


CONTROL: dict[str, Callable[..., Any]] = {"cond": _cond, "scan": _scan, "while": _while}
