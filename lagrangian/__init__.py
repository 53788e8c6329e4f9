"""Lagrangians to laws to certified runs. See the README for a tour.

The names are listed in `__init__.pyi`. Each loads its layer when first used, so that
deriving equations never imports JAX.
"""

from typing import Any

import lazy_loader

from lagrangian.errors import check_attribute
from lagrangian.version import __version__ as __version__

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    check_attribute(__name__, name, __all__)
    value = globals()[name] = _load(name)
    return value
