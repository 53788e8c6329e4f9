"""One training step, as a function that JAX traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from lagrangian.errors import LagrangianError
from lagrangian.learning.model import Parts, traced_loss
from lagrangian.learning.training.observed import Watch, closing
from lagrangian.lowering.pytrees import named_leaves


class TrainingStep:
    """The step (carry, batch) -> carry of a training loop with an observed optimiser.

    The carry is (parameters, the model's other state, the optimiser's `ObservedState`);
    `start` is the one to start from.
    """

    def __init__(
        self,
        parts: Parts,
        loss: Callable[[Any, Any], Any],
        watch: Watch,
        state: Any = None,
    ):
        self.parts, self.watch = parts, watch
        #: (parameters, rest, batch) -> (loss, (parameters, rest) after the call).
        self.value = parts.bind(loss)
        if state is None:
            observed = watch.init(parts.parameters)
        else:
            observed = watch.resume(parts.parameters, state)
        self.start = parts.parameters, parts.rest, observed

    def __call__(self, carry: Any, batch: Any) -> Any:
        result, gradient, parameters, rest = self._differentiate(carry, batch)
        updates, state = self.update(gradient, (parameters, *carry[1:]), batch, result)
        return optax.apply_updates(parameters, updates), rest, state

    def update(self, gradient: Any, carry: Any, batch: Any, value: Any) -> Any:
        """What the optimiser makes of a gradient, and its next state.

        It is told the loss, too, and how to compute it elsewhere (line searches,
        Hessians, sharpness): of this batch, with the random draws of this step.
        """
        parameters, rest, state = carry

        # A line search of optax refuses what its `value_fn` does not take.
        def loss(q: Any, obj_fn: Any = None, grad_fn: Any = None) -> Any:
            return self.value(q, rest, batch)[0]

        # The slow half of a lookahead's parameters has no gradient.
        is_pair = isinstance(parameters, optax.LookaheadParams)
        return self.watch.update(
            gradient.fast if is_pair else gradient,
            state,
            parameters,
            value=value,
            grad=gradient,
            value_fn=loss,
            obj_fn=loss,
            grad_fn=lambda q, _: jax.grad(loss)(q),
        )

    def _differentiate(self, carry: Any, batch: Any) -> tuple[Any, ...]:
        """The loss, its gradient, and what its call made of parameters and rest."""
        parameters, rest, _ = carry
        differentiate = jax.value_and_grad(self.value, has_aux=True)
        (result, after), gradient = differentiate(parameters, rest, batch)
        _check_state((parameters, rest), after)
        return result, gradient, *after

    def check(self, batch: Any) -> np.dtype:
        """The dtype of the loss, found without computing it.

        Raises:
            LagrangianError: the loss is no real scalar, or cannot be differentiated; or
                a call of the model writes into a parameter of which a law is observed.
        """
        written: list[str] = []

        def value(parameters: Any, rest: Any, batch: Any) -> Any:
            result, (after, _) = self.value(parameters, rest, batch)
            now = named_leaves(after)
            written[:] = [
                name
                for name, leaf in named_leaves(parameters).items()
                if now.get(name, leaf) is not leaf
            ]
            return result

        try:
            with traced_loss():
                parameters, rest, _ = self.start
                jax.eval_shape(value, parameters, rest, batch)
                result = jax.eval_shape(self._differentiate, self.start, batch)[0]
        except TypeError as error:
            if "scalar-output" not in str(error):
                raise
            raise LagrangianError(
                f"`loss` must return a scalar for a batch. Reduce it, as in "
                f"`losses.mean()`. ({str(error).splitlines()[0]})"
            ) from None
        observed = {w.name for w in self.watch.observation.blocks}
        if bad := sorted(observed & set(written)):
            raise LagrangianError(
                f"a call of the model writes into its parameter `{bad[0]}`, as "
                "`nnx.WeightNorm` and `nnx.SpectralNorm` do: the optimiser moves what "
                "was written, and not what the gradient was taken at, so that no law "
                "of it holds. Leave its laws out of `observe`, or divide by the norm "
                "in the layer's call, without writing."
            )
        return np.dtype(result.dtype)

    def closing(self, carry: Any) -> Any:
        """What a run that ends with `carry` records of its last state."""
        parameters, _, state = carry
        return closing(state.layout, parameters, state.inner_state)

    def model(self, carry: Any) -> Any:
        """The model with what `carry` holds."""
        return self.parts.merge(carry[0], carry[1])


def _check_state(before: Any, after: Any) -> None:
    """Raise if a call of the model made other state than it had.

    Raises:
        LagrangianError: state that comes or goes, or that has another shape or type
            after the call.
    """
    old, new = named_leaves(before), named_leaves(after)
    if jax.tree.structure(before) != jax.tree.structure(after):
        changed = ", ".join(_path(name) for name in sorted(set(old) ^ set(new)))
        raise LagrangianError(
            f"the model's state changes in its call: {changed}. Supported is state "
            "that keeps its form: make every `nnx.Variable` in `__init__`."
        )
    for name, leaf in old.items():
        was, now = _aval(leaf), _aval(new[name])
        if was != now:
            raise LagrangianError(
                f"`model` has the state `{_path(name)}` in {was}, and a call of it "
                f"makes {now} of that; a run carries state of one type and shape. "
                # Linen's makes them in float32, whatever `param_dtype` is.
                "Give it the latter from the start: for batch statistics in 64-bit "
                "mode, `nnx.update(model, jax.tree.map(lambda a: "
                "a.astype(jnp.float64), nnx.state(model, nnx.BatchStat)))`."
            )


def _aval(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _path(name: str) -> str:
    """The path of state, without whether it is a parameter."""
    return name.partition(".")[2]
