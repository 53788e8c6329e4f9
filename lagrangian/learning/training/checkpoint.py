"""The state of a training run in a folder, so that a killed run goes on bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.files import write_atomically

#: Seconds between two saved states.
INTERVAL = 10.0


class Checkpoint:
    """A folder with the states of one run, by orbax, and what run it is.

    Args:
        folder: made if it does not exist.
        about: what must be the same for a run to be continued here, in words.

    Raises:
        LagrangianError: the folder holds another run, or other files.
    """

    def __init__(self, folder: str | os.PathLike[str], about: Mapping[str, str]):
        import orbax.checkpoint as orbax  # two seconds that only long runs pay

        self.folder = Path(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise LagrangianError(
                f"`checkpoint`: {self.folder} is a file. Pass a folder, or a new name."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check(about)
        self._orbax = orbax
        self._manager = orbax.CheckpointManager(
            self.folder / "states",
            options=orbax.CheckpointManagerOptions(
                max_to_keep=2, enable_async_checkpointing=False
            ),
        )
        self._last = time.monotonic()

    def _check(self, about: Mapping[str, str]) -> None:
        known = self.folder / "run.json"
        if not known.exists():
            if any(self.folder.iterdir()):
                raise LagrangianError(
                    f"`checkpoint`: the folder {self.folder} has files in it, but no "
                    "run. Pass an empty or a new folder."
                )
            text = json.dumps(dict(about), indent=2)
            write_atomically(known, lambda file: file.write(text.encode()))
            return
        there = json.loads(known.read_text())
        different = [
            f"its {name} is {there.get(name)}, this run's is {value}"
            for name, value in about.items()
            if there.get(name) != value
        ]
        if different:
            raise LagrangianError(
                f"`checkpoint`: the folder {self.folder} holds another run: "
                f"{'; '.join(different)}. Pass another folder, or delete this one."
            )

    def restore(self, carry: Any) -> tuple[int, Any]:
        """The newest saved step and its state; 0 and `carry` if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return 0, carry
        leaves, structure = jax.tree.flatten(carry)
        wanted = {str(i): np.asarray(_data(leaf)) for i, leaf in enumerate(leaves)}
        found = self._manager.restore(
            step, args=self._orbax.args.StandardRestore(wanted)
        )
        restored = [_like(leaf, found[str(i)]) for i, leaf in enumerate(leaves)]
        return step, jax.tree.unflatten(structure, restored)

    @property
    def is_due(self) -> bool:
        """Whether the last state is older than `INTERVAL`."""
        return time.monotonic() - self._last >= INTERVAL

    def save(self, step: int, carry: Any) -> None:
        """Save the state after so many steps, whole or not at all."""
        if step != self._manager.latest_step():
            leaves = jax.tree.leaves(carry)
            tree = {str(i): np.asarray(_data(leaf)) for i, leaf in enumerate(leaves)}
            self._manager.save(step, args=self._orbax.args.StandardSave(tree))
            self._manager.wait_until_finished()
        self._last = time.monotonic()


def fingerprint(tree: Any) -> str:
    """A short name for the contents of the arrays of a pytree."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(_data(leaf))
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    """An array of numbers that stands for a leaf: the data of a random key."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(leaf: Any, data: Any) -> Any:
    if _is_key(leaf):
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jnp.asarray(data, leaf.dtype)
