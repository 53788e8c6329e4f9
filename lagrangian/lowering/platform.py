"""Which kind of device a program is traced for, and where float64 is computed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError

#: `with lowered_for("cuda"):` is for what `jax.export` lowers for a platform that this
#: machine lacks. JAX traces anew where it changes.
lowered_for = jax.make_user_context()


def platform() -> str:
    """The platform that what is traced now will run on: "cpu", "gpu" or "tpu".

    That of `jax.default_device` where it is set, and of JAX's first devices otherwise.
    What is compiled may depend on it, as JAX traces anew where these change.

    >>> with lowered_for("cuda"):
    ...     platform()
    'cuda'
    """
    if lowered_for.value is not None:
        return lowered_for.value
    config: Any = jax.config  # whose attributes are made when JAX is loaded
    device = config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform


def on_cpu() -> bool:
    """Whether what is traced now will run on a CPU."""
    return platform() == "cpu"


def has_float64() -> bool:
    """Whether what is traced now may be in float64.

    A TPU has no such numbers. XLA replaces them by pairs of float32 there, in some
    operations: without their range, and not where the bits of a number are looked at.
    """
    return platform() != "tpu"


def where_float64_is() -> Any:
    """A context in which JAX's device has float64: the host's CPU in a TPU's place."""
    if has_float64():
        return nullcontext()
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def check_float64(what: str) -> None:
    """Raise unless what is traced now is in float64, for a device that has it.

    Raises:
        LagrangianError: says in which context to call `what`.
    """
    if jnp.result_type(float) != np.float64:
        raise LagrangianError(
            f"{what} in float64. Transform it, and what calls it, inside "
            "`with jax.enable_x64(True):`."
        )
    if not has_float64():
        raise LagrangianError(
            f"{what} in float64, which a TPU has not. Transform it, and what calls it, "
            'inside `with jax.default_device(jax.local_devices(backend="cpu")[0]):`, '
            "too."
        )


@contextmanager
def float64() -> Generator[None]:
    """The context in which the engine computes, whatever JAX is set to."""
    with jax.enable_x64(True), where_float64_is():
        yield
