"""Every learning rule, as `lg.rules`; the common ones are names of `lg`, too.

>>> import lagrangian as lg
>>> lg.rules.Lion(learning_rate=1e-3).b1
0.9
"""

from lagrangian.learning.rules.adaptive import Adam, Lion, RMSProp
from lagrangian.learning.rules.heavy_ball import HeavyBall
from lagrangian.learning.rules.mirror import MirrorDescent, NaturalGradient
from lagrangian.learning.rules.rule import Rule

__all__ = [
    "Adam",
    "HeavyBall",
    "Lion",
    "MirrorDescent",
    "NaturalGradient",
    "RMSProp",
    "Rule",
]


def __dir__() -> list[str]:
    """What completion offers."""
    return __all__
