"""Compiled functions kept on disk, so that the next process need not compile them."""

from __future__ import annotations

import atexit
import hashlib
import os
import stat
import sys
from pathlib import Path

from lagrangian.errors import CannotSave, LagrangianError
from lagrangian.files import naming, write_atomically

#: Checks that raise from inside a compiled function keep JAX from storing it.
_CHECKS, _STORABLE = "EQX_ON_ERROR", ("nan", "off")


def cache(folder: str | Path) -> None:
    """Keep in `folder` what this process compiles, and take from there what it can.

    To be called once, right after importing the library. It covers all that JAX
    compiles from then on, in JAX's persistent cache: whatever changes the result (the
    system, its parameters, the solver, the precision, the version and the device) is in
    the name under which a function is kept, so that no other system can meet it. A file
    that was changed, or stands under another name than it was written with, is
    discarded here and compiled anew; so is what a process left that did not end in
    order.

    Derivation and tracing are done anew in each process. Measured in
    docs/benchmarks/cache.md.

    Two settings of the process come with it. Equinox's run-time checks, on which
    diffrax relies, give nan instead of raising (`EQX_ON_ERROR=nan`), because JAX stores
    no function that calls back into Python. And XLA's messages are silenced, which
    warn of a foreign processor where there is none (`TF_CPP_MIN_LOG_LEVEL=3`). Either
    stays as it is where the environment sets it.

    The folder holds machine code, which is run: whoever can write to it can do whatever
    you can. A folder of another user, or one that others may write to, is refused. The
    signatures are digests of a file and its name, without a secret. They find what was
    cut, swapped or damaged, by accident or by a program that died; they do not find
    what was forged, since who can write a file can write its signature.

    Args:
        folder: made if it does not exist; only its part `compiled` is used.

    Raises:
        LagrangianError: Equinox is loaded already, with checks that raise; or others
            may write to the folder.
        CannotSave: the folder cannot be made.

    >>> import subprocess, sys, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     code = f"import lagrangian as lg; lg.cache({folder!r})"
    ...     subprocess.run([sys.executable, "-c", code]).returncode
    0
    """
    if os.environ.setdefault(_CHECKS, "nan") not in _STORABLE or _equinox_raises():
        raise LagrangianError(
            "`lg.cache` came too late: Equinox is loaded already, and its checks, "
            "which JAX does not store, raise. Call it right after "
            f"`import lagrangian as lg`, or set {_CHECKS}=nan in the environment."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    import jax
    from jax.experimental.compilation_cache import compilation_cache

    entries = Path(folder).expanduser().absolute() / "compiled"
    with naming(entries):
        entries.parent.mkdir(parents=True, exist_ok=True)
        entries.mkdir(mode=0o700, exist_ok=True)
    _check_private(entries)
    _discard_unsigned(entries)
    jax.config.update("jax_compilation_cache_dir", str(entries))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # JAX looks at its settings once
    atexit.register(_sign, entries)


def _check_private(entries: Path) -> None:
    """Raise if another user could put something into the folder, or in its place."""
    if not hasattr(os, "getuid"):  # where permissions are of another kind
        return
    own, above = entries.stat(), entries.parent.stat()
    replaceable = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    if own.st_uid != os.getuid():
        wrong, what = entries, "belongs to another user"
    elif own.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        wrong, what = entries, "is open for others to write"
    elif replaceable:
        wrong, what = entries.parent, "is open for others to write"
    else:
        return
    raise LagrangianError(
        f"`lg.cache`: {wrong} {what}, and what lies there is run. Pass a folder of "
        "your own, or `chmod go-w` this one."
    )


def _equinox_raises() -> bool:
    loaded = sys.modules.get("equinox._config")
    return getattr(loaded, _CHECKS, "nan") not in _STORABLE


def _signature(entry: Path) -> str:
    """Of the content and the name, which JAX makes from all that is compiled."""
    return hashlib.sha256(entry.name.encode() + b"\0" + entry.read_bytes()).hexdigest()


def _signed(entry: Path) -> Path:
    return entry.with_name(entry.name + ".sha256")


def _discard_unsigned(entries: Path) -> None:
    for entry in entries.glob("*-cache"):
        signature = _signed(entry)
        if not (signature.exists() and signature.read_text() == _signature(entry)):
            entry.unlink()
            signature.unlink(missing_ok=True)


def _sign(entries: Path) -> None:
    for entry in entries.glob("*-cache"):
        if not _signed(entry).exists():
            signature = _signature(entry).encode()
            try:
                write_atomically(
                    _signed(entry), lambda file, s=signature: file.write(s)
                )
            except CannotSave:  # unsigned, it is discarded by the next process
                return
