"""Ready-made mechanical systems, as `lg.systems`, and systems from files.

>>> import lagrangian as lg
>>> lg.systems.kepler().lagrangian.coordinates
(x, y)
>>> lg.systems.make_system("n-pendulum", {"links": 2, "g": 1.62}).name
'n-pendulum'
"""

from typing import Any

import lazy_loader

from lagrangian.errors import check_attribute
from lagrangian.systems.names import FILES, function

_load, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        **{
            file: [function(name) for name in FILES if FILES[name] == file]
            for file in dict.fromkeys(FILES.values())
        },
        "mechanics": ["SYSTEMS", "make_system"],
        "spec": ["load_spec"],
        "system": ["System"],
    },
)


def __getattr__(name: str) -> Any:
    check_attribute(__name__, name, __all__)
    value = globals()[name] = _load(name)
    return value
