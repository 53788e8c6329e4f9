"""Lagrangians to laws to certified runs. See the README for a tour.

Names load their layer when first used, so that deriving equations never imports JAX.
"""

from importlib import import_module
from typing import Any

from lagrangian.version import __version__

_LAYERS = {
    "lagrangian.symbolic.coordinates": ("coordinates", "time"),
    "lagrangian.symbolic.blocks": ("ConstantBlock", "LinearMap", "blocks", "ones"),
    "lagrangian.symbolic.matrices": ("matmul", "transpose"),
    "lagrangian.symbolic.losses": ("Loss",),
    "lagrangian.symbolic.inner": ("Inner",),
    "lagrangian.symbolic.bregman": ("bregman_lagrangian",),
    "lagrangian.symbolic.calculus": ("gradient", "total_derivative", "variation"),
    "lagrangian.symbolic.boundary": ("boundary_term",),
    "lagrangian.symbolic.find": ("find_symmetries",),
    "lagrangian.symbolic.found": ("FoundSymmetry", "Symmetries"),
    "lagrangian.symbolic.fields": ("Field", "fields"),
    "lagrangian.symbolic.field_theory": ("Current", "FieldTheory"),
    "lagrangian.symbolic.ostrogradsky": ("HigherOrderLagrangian",),
    "lagrangian.symbolic.backward_error": (
        "Average",
        "ModifiedFlow",
        "Recursion",
        "modified_flow",
    ),
    "lagrangian.symbolic.system": ("Lagrangian",),
    "lagrangian.symbolic.symmetry": (
        "GeneralLinear",
        "Rescale",
        "Rotation",
        "Scale",
        "Symmetry",
        "TimeTranslation",
        "Translation",
    ),
    "lagrangian.symbolic.noether": ("Law", "noether"),
    "lagrangian.symbolic.hamiltonian": ("Hamiltonian", "cyclic", "routh"),
    "lagrangian.lowering.cache": ("cache",),
    "lagrangian.flows.lower": ("lower",),
    "lagrangian.flows.taylor": ("Taylor",),
    "lagrangian.flows.symplectic": ("Symplectic",),
    "lagrangian.flows.variational": ("Variational", "discrete_euler_lagrange"),
    "lagrangian.flows.rattle": ("Rattle",),
    "lagrangian.flows.ensemble": ("Ensemble",),
    "lagrangian.learning.rules.rule": ("Rule",),
    "lagrangian.learning.rules.heavy_ball": ("HeavyBall",),
    "lagrangian.learning.rules.adaptive": ("Adam", "Lion", "RMSProp"),
    "lagrangian.learning.rules.mirror": ("MirrorDescent", "NaturalGradient"),
    "lagrangian.learning.train": ("train",),
    "lagrangian.learning.run": ("Run",),
    "lagrangian.learning.predict": ("predict",),
    "lagrangian.learning.discover.discovery": ("Discovery", "discover"),
    "lagrangian.learning.check": ("Report", "check"),
    "lagrangian.learning.network_flow": (
        "NetworkFlow",
        "NetworkPath",
        "network_flow",
    ),
    "lagrangian.theorems.catalogue": ("verify",),
    "lagrangian.theorems.theorem": ("Verification",),
    "lagrangian.errors": (
        "CannotLower",
        "IntegrationFailed",
        "InvalidLagrangian",
        "InvalidSymmetry",
        "LagrangianError",
        "TrainingStopped",
        "UnknownBlock",
    ),
}
_HOME = {name: module for module, names in _LAYERS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module `lagrangian` has no attribute `{name}`")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
