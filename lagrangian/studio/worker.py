"""A process that answers one question at a time; a new question ends the old one."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from lagrangian.errors import LagrangianError

#: How long an answer may lie there unseen (s).
_GLANCE = 0.005


class Worker:
    """Answers come part by part: a question is a function that yields them.

    A thread could not be stopped, and derivations may take minutes.

    Args:
        modules: what a process imports before its first question.
        ready: whether one stands by from the start, and another for the time when it
            is ended, so that no question waits for imports. Else the first question
            starts one.
    """

    def __init__(self, *modules: str, ready: bool = False):
        self._modules, self._ready = modules, ready
        self._asked, self._busy = 0, False
        self._child = _Child(modules) if ready else None
        self._spare: _Child | None = None

    async def answers(
        self, function: Callable[..., Iterator[Any]], *arguments: Any
    ) -> AsyncIterator[Any]:
        """The parts of an answer; they end without a word where another is asked.

        Raises:
            LagrangianError: as the function raised it, or the process died.
        """
        self._asked += 1
        mine = self._asked
        if self._busy:
            self._replace()
        child = self._child or _Child(self._modules)
        self._child, self._busy = child, True
        if self._ready and self._spare is None:
            self._spare = _Child(self._modules)
        child.pipe.send((function, arguments))
        while True:
            try:
                while mine == self._asked and not child.pipe.poll():
                    await asyncio.sleep(_GLANCE)
                if mine != self._asked:
                    return
                kind, found = child.pipe.recv()
            except (EOFError, OSError):
                if mine != self._asked:
                    return  # ended for the sake of the next question
                self._replace()
                raise LagrangianError(
                    "the computation was ended from outside, perhaps for lack of "
                    "memory. Ask for less."
                ) from None
            if kind == "part":
                yield found
                continue
            self._busy = False
            if kind == "failed":
                raise found
            return

    def stop(self) -> None:
        """End what it does; the next question finds another process."""
        self._asked += 1
        if self._busy:
            self._replace()

    def close(self) -> None:
        """End both processes."""
        self._asked += 1
        for child in (self._child, self._spare):
            if child is not None:
                child.end()
        self._child = self._spare = None

    def _replace(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child, self._spare, self._busy = self._spare, None, False


class _Child:
    def __init__(self, modules: tuple[str, ...]):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, modules), daemon=True
        )
        self._process.start()
        other.close()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Any, modules: tuple[str, ...]) -> None:
    """The life of a process: until nobody is there to ask any more."""
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        for module in modules:
            import_module(module)
        while True:
            function, arguments = pipe.recv()
            try:
                for part in function(*arguments):
                    pipe.send(("part", part))
                pipe.send(("done", None))
            except LagrangianError as error:
                pipe.send(("failed", error))
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                said = f"unforeseen: {type(error).__name__}: {error}"
                pipe.send(("failed", LagrangianError(said)))
