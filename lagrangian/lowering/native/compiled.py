"""Machine code from the language of LLVM, for the processor that runs this."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from lagrangian.lowering.native.code import Code, NotNative
from lagrangian.lowering.native.program import LIBRARY


class Compiled:
    """A function of pointers, as machine code that lives as long as this.

    Args:
        code: what it does.

    Raises:
        NotNative: LLVM is not there, or does not understand the code.
    """

    def __init__(self, code: Code):
        binding = _llvm()
        try:
            machine = binding.Target.from_default_triple().create_target_machine(
                cpu=binding.get_host_cpu_name(),
                features=binding.get_host_cpu_features().flatten(),
                opt=2,
                jit=True,
            )
            module = binding.parse_assembly(code.module())
            module.verify()  # in the next lines, LLVM would end the process
        except RuntimeError as error:
            raise NotNative(str(error)) from error
        # No pass over it: every operation stands once, where it should.
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address(code.name)
        pointers = [ctypes.c_void_p] * len(code.pointers)
        self._function: Callable[..., Any] = ctypes.CFUNCTYPE(None, *pointers)(address)

    def __call__(self, *arrays: Any) -> None:
        """Run it on the memory of NumPy arrays, one for each pointer."""
        self._function(*(array.ctypes.data for array in arrays))


@cache
def _llvm() -> Any:
    """llvmlite's binding, which takes a tenth of a second to load."""
    if sys.platform == "win32":  # where nobody has tried it
        raise NotNative("machine code on Windows")
    try:
        import llvmlite.binding as binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        library = _library()
        for name in LIBRARY.values():
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            binding.add_symbol(name, address)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise NotNative(str(error)) from error
    return binding


def _library() -> Any:
    """The C library's functions of numbers."""
    library = ctypes.CDLL(None)  # the process, which as a rule has it
    return library if hasattr(library, "erf") else ctypes.CDLL("libm.so.6")
