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
    device = _chosen()
    if lowered_for.value is not None:
        return lowered_for.value
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform


def _chosen() -> Any:
    """The default device of this context: a device, a platform's name, or None."""
    config: Any = jax.config  # whose attributes are made when JAX is loaded
    return config.jax_default_device


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
    return nullcontext() if has_float64() else jax.default_device(_host())


def _host() -> jax.Device:
    return jax.local_devices(backend="cpu")[0]


def devices_of_float64() -> list[jax.Device]:
    """The devices of this process over which work in float64 is shared by default."""
    with where_float64_is():
        device = _chosen()
    if device is None:
        return jax.local_devices()
    kind = device if isinstance(device, str) else device.platform
    return jax.local_devices(backend=kind)


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
def float64(sequential: bool = False) -> Generator[None]:
    """The context in which the engine computes, whatever JAX is set to.

    Args:
        sequential: whether it is small operations in long loops, such as the steps of
            one trajectory. An accelerator takes a thousand times as long for these, so
            they go to the host's CPU, unless `jax.default_device` chose another.
    """
    on_host = sequential and _chosen() is None and not on_cpu()
    where = jax.default_device(_host()) if on_host else where_float64_is()
    with jax.enable_x64(True), where:
        yield
