"""A user's own network: a class by its name, whose module is imported.

The module is imported as `python -m` would; nothing else is run.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from flax import linen, nnx
from flax.nnx import bridge

from lagrangian.errors import LagrangianError, nearest
from lagrangian.networks.datasets import Dataset

_SIGNATURE = (
    "Write `def __init__(self, rngs, inputs, features, classes)`: all but `rngs` may "
    "be left out, `inputs` is a tuple, and any others need a default."
)
_PACKAGE = str(Path(__file__).parents[1])


def load_model(name: str) -> Callable[..., Any]:
    """The class, or function that makes a network, of that name.

    Args:
        name: "module:Class". The module is imported, from the current directory first,
            which is on the path for that time only; its code runs.

    Raises:
        LagrangianError: the name has another form, or there is no such module or class;
            or the module fails as it is imported.
    """
    value = load_object(name)
    if not callable(value) or isinstance(value, nnx.Module):
        raise LagrangianError(
            f"`{name}` is a `{type(value).__name__}`. Name the class of a network, or "
            "a function that makes one."
        )
    return value


def load_object(name: str) -> Any:
    """What a module of the user's calls so: `load_model` without a check of its kind.

    Raises:
        LagrangianError: as for `load_model`.
    """
    module, _, attribute = name.partition(":")
    parts = (*module.split("."), attribute)
    if module.endswith(".py") or not all(part.isidentifier() for part in parts):
        raise LagrangianError(
            f"`{name}` names no network or rule. Write `module:Class`, as in "
            "`mymodel:Network` for the class `Network` of mymodel.py."
        )
    return _attribute(_module(module), module, attribute)


def _module(name: str) -> Any:
    here = os.getcwd()
    try:
        with _on_the_path(here):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise LagrangianError(
                f"there is no module `{error.name}`, neither in `{here}` nor "
                "installed. Change to the directory of the file, or correct its name."
            ) from None
        raise _failed(f"`{name}` cannot be imported", error) from error
    except Exception as error:  # the user's own code may raise anything
        raise _failed(f"`{name}` cannot be imported", error) from error


@contextmanager
def _on_the_path(folder: str) -> Generator[None, None, None]:
    """A folder that modules are imported from inside, first, and no longer."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the user's own code may change it
            sys.path.remove(folder)


def _attribute(module: Any, name: str, attribute: str) -> Any:
    if hasattr(module, attribute):
        return getattr(module, attribute)
    known = [
        n for n, v in vars(module).items() if n[0] != "_" and not inspect.ismodule(v)
    ]
    raise LagrangianError(
        f"module `{name}` has no `{attribute}`. {nearest(attribute, known)}"
    )


def make_model(
    factory: Callable[..., Any], dataset: Dataset, seed: int = 0
) -> nnx.Module:
    """The network of a factory for a data set, tried on two of its examples.

    Args:
        factory: called with `rngs` and those of `inputs`, `features` and `classes` that
            its signature names: the shape of an example, how many numbers that are,
            and the size of the output's last axis (in regression, that of the targets).
            A Linen class is called without `rngs`, and made an NNX module.
        dataset: that the network shall learn.
        seed: of the initial parameters.

    Raises:
        LagrangianError: the factory fails or gives no Flax module, or the module
            fails on a batch or gives another shape than that of the targets, followed
            by (classes,) except in regression.
    """
    name = getattr(factory, "__qualname__", str(factory))
    arguments = _arguments(factory, dataset)
    is_linen = isinstance(factory, type) and issubclass(factory, linen.Module)
    random = {} if is_linen else {"rngs": nnx.Rngs(seed)}
    try:
        model = factory(**random, **arguments)
    except Exception as error:  # the user's own code may raise anything
        given = {key: f"nnx.Rngs({seed})" for key in random} | arguments
        called = f"{name}({', '.join(f'{k}={v}' for k, v in given.items())})"
        advice = _SIGNATURE if isinstance(error, TypeError) else ""
        raise _failed(f"`{called}` failed", error, advice) from error
    if isinstance(model, linen.Module):
        model = _from_linen(name, model, dataset, seed)
    if not isinstance(model, nnx.Module):
        raise LagrangianError(
            f"`{name}` gave a `{type(model).__name__}`. Write a class that inherits "
            "from `flax.nnx.Module`, or a function that returns one."
        )
    _check_output(name, model, dataset)
    return model


def _from_linen(
    name: str, model: linen.Module, dataset: Dataset, seed: int
) -> nnx.Module:
    wrapped, batch = bridge.ToNNX(model, nnx.Rngs(seed)), dataset.inputs[:2]
    try:
        return bridge.lazy_init(wrapped, batch)
    except Exception as error:  # the user's own code may raise anything
        raise _uncallable(name, batch, error) from error


def _arguments(factory: Callable[..., Any], dataset: Dataset) -> dict[str, Any]:
    # The signature of an NNX class itself is that of its metaclass.
    target = factory.__init__ if isinstance(factory, type) else factory
    shape = dataset.inputs.shape[1:]
    known = {
        "inputs": shape,
        "features": math.prod(shape),
        "classes": dataset.classes or dataset.targets.shape[-1],
    }
    try:
        named = inspect.signature(target).parameters
    except ValueError:  # a function of C without a signature
        named = {}
    return {key: value for key, value in known.items() if key in named}


def _check_output(name: str, model: nnx.Module, dataset: Dataset) -> None:
    batch, targets = dataset.inputs[:2], dataset.targets[:2]
    graph, state = nnx.split(model)
    try:
        # Abstract, and on a copy: batch statistics and random streams stay as they are.
        output = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, batch)
    except Exception as error:  # the user's own code may raise anything
        raise _uncallable(name, batch, error) from error
    classes = () if dataset.classes is None else (dataset.classes,)
    expected = (*targets.shape, *classes)
    shape = getattr(output, "shape", None)
    if shape != expected:
        got = f"a `{type(output).__name__}`" if shape is None else f"shape {shape}"
        what = "logits" if classes else "like the targets; labels are whole numbers"
        raise LagrangianError(
            f"`{name}` gave {got} for {_inputs(batch)}. Return one array of shape "
            f"{expected} ({what})."
        )


def _inputs(batch: Any) -> str:
    return f"inputs of shape {batch.shape}, {batch.dtype}"


def _uncallable(name: str, batch: Any, error: Exception) -> LagrangianError:
    return _failed(f"`{name}` cannot be called on {_inputs(batch)}", error)


def _failed(what: str, error: Exception, advice: str = "") -> LagrangianError:
    """What failed and why, with the user's last line on the way there."""
    reason = f"{what}: {type(error).__name__}: {error}".rstrip(".")
    folders = (*map(sysconfig.get_path, ("stdlib", "purelib")), _PACKAGE)
    others = (*(f"{folder}{os.sep}" for folder in folders), "<")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(others):
            reason += f" ({Path(frame.filename).name}, line {frame.lineno})"
            break
    return LagrangianError(f"{reason}. {advice}".rstrip())
