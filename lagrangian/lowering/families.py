"""Inner products with every member of a family of linear maps at once.

A symmetry group of dimension n has n charges, <p, A_m q> for the members A_m of its
algebra. In a law they are one: a `LinearMap` A stands for any member. Where the value
of that map is a `Family`, the law is evaluated for all of them: the charges of all
k x k matrices are one product of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import sympy as sp

from lagrangian.lowering.bilinear import Bilinear
from lagrangian.lowering.evaluate import evaluate, inner_product
from lagrangian.symbolic.algebra.blocks import Applied, LinearMap, is_block
from lagrangian.symbolic.algebra.inner import Inner


@runtime_checkable
class Family(Protocol):
    """Linear maps A_m with numbers m. Families in one law have the same members."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an array that has a number for each member."""
        ...

    def paired(self, x: Any, y: Any) -> Any:
        """<x, A_m y> for every m."""
        ...

    def squared(self, x: Any, y: Any) -> Any | None:
        """<A_m x, A_m y> for every m; None where that takes the members one by one."""
        ...

    def member(self, m: Any) -> Callable[[Any], Any]:
        """A_m, of a flat number that JAX may trace."""
        ...

    def bilinear(self, how: str) -> Bilinear | None:
        """What "paired" or "squared" computes, as data; None where that is large."""
        ...


def families_in(values: Mapping[Any, Any]) -> dict[LinearMap, Family]:
    """The maps among `values` that are families, and not of one member alone."""
    return {
        key: value
        for key, value in values.items()
        if isinstance(key, LinearMap) and isinstance(value, Family) and value.shape
    }


def base_of(node: Any, families: Mapping[LinearMap, Family]) -> LinearMap | None:
    """The first family in an expression; None if there is none."""
    bases = _bases(node)
    return next((base for base in families if base in bases), None)


def bilinear_forms(
    products: Sequence[Inner],
    values: Mapping[Any, Any],
    families: Mapping[LinearMap, Family],
) -> dict[Inner, tuple[Bilinear, Any, Any]]:
    """Those of the products that are small enough to be data, with their two sides."""
    found: dict[Inner, Any] = {}
    for node in products:
        if (form := _form(node, families)) is None:
            continue
        sign, (base, how), *sides = form
        if (bilinear := families[base].bilinear(how)) is not None:
            found[node] = bilinear if sign == 1 else -bilinear, sides
    sides = [side for _, pair in found.values() for side in pair]
    known = dict(zip(sides, map(jnp.asarray, evaluate(sides, values)), strict=True))
    return {n: (form, known[x], known[y]) for n, (form, (x, y)) in found.items()}


def family_products(
    products: Sequence[Inner],
    values: Mapping[Any, Any],
    families: Mapping[LinearMap, Family],
) -> list[Any]:
    """The values of inner products that contain families, of the families' shapes.

    Args:
        products: of blocks without unit axes.
        values: as `evaluate` takes them.
        families: those among them.
    """
    forms = {node: _form(node, families) for node in products}
    groups: dict[Any, list[Inner]] = {}
    for node, form in forms.items():
        groups.setdefault(form and form[1], []).append(node)
    sides = [side for form in forms.values() if form for side in form[2:]]
    known = dict(zip(sides, map(jnp.asarray, evaluate(sides, values)), strict=True))
    found: dict[Inner, Any] = {}
    # On accelerators, matrix products are shortened by default.
    with jax.default_matmul_precision("highest"):
        for how, nodes in groups.items():
            several = how and _together(how, [forms[n] for n in nodes], known, families)
            if several is None:
                several = [_singly(node, values, families) for node in nodes]
            found |= zip(nodes, several, strict=True)
    return [found[node] for node in products]


def _together(
    how: tuple[LinearMap, str],
    forms: Sequence[Any],
    known: Mapping[Any, Any],
    families: Mapping[LinearMap, Family],
) -> list[Any] | None:
    """Products that one family makes in one way, as one: less to compile."""
    base, method = how
    xs, ys = (
        jnp.stack(jnp.broadcast_arrays(*(known[form[place]] for form in forms)))
        for place in (2, 3)
    )
    values = jax.vmap(getattr(families[base], method))(xs, ys)
    if values is None:
        return None
    pairs = zip(forms, values, strict=True)
    return [value if form[0] == 1 else -value for form, value in pairs]


def _bases(node: Any) -> set[LinearMap]:
    return {applied.args[0].base for applied in node.atoms(Applied)}


def _form(node: Inner, families: Mapping[LinearMap, Family]) -> Any | None:
    """(sign, (map, "paired" or "squared"), x, y): a form in which members go together.

    None where the node has none of these forms.
    """
    factors = [f for side in node.args for f in sp.Mul.make_args(side)]
    heads = [f for f in factors if isinstance(f, Applied) and base_of(f, families)]
    others = sp.Mul(*(f for f in factors if f not in heads))
    if base_of(others, families):
        return None
    if len(heads) == 2 and not is_block(others):
        return _squared(1, heads[0], heads[1], families)
    if len(heads) != 1:
        return None
    linear_map, inside = heads[0].args
    if not base_of(inside, families):
        x, y = (inside, others) if linear_map.transposed else (others, inside)
        return 1, (linear_map.base, "paired"), x, y
    if linear_map.base in families and isinstance(inside, Applied):
        # <x, A B y> is <A^T x, B y>.
        sign = linear_map.parity or 1
        turned = linear_map if linear_map.parity else linear_map.T
        return _squared(
            sign, sp.Expr.__new__(Applied, turned, others), inside, families
        )
    return None


def _squared(
    sign: int, left: Any, right: Any, families: Mapping[LinearMap, Family]
) -> Any | None:
    (one, x), (other, y) = left.args, right.args
    plain = one == other and not one.transposed and one.base in families
    if not plain or base_of(x, families) or base_of(y, families):
        return None
    return sign, (one.base, "squared"), x, y


def _singly(
    node: Inner, values: Mapping[Any, Any], families: Mapping[LinearMap, Family]
) -> Any:
    """One member after the other."""
    bases = [base for base in _bases(node) if base in families]

    def one(m: Any) -> Any:
        chosen = {base: families[base].member(m) for base in bases}
        left, right = evaluate(node.args, {**values, **chosen})
        return inner_product(jnp.asarray(left), jnp.asarray(right))

    shape = families[bases[0]].shape
    return jax.lax.map(one, jnp.arange(math.prod(shape))).reshape(shape)
