"""Lagrangians to laws to certified runs. See the README for a tour.

Names load their layer when first used, so that deriving equations never imports JAX.
"""

from importlib import import_module
from typing import Any

from lagrangian.version import __version__

_LAYERS = {
    "lagrangian.symbolic.algebra.coordinates": ("coordinates", "time"),
    "lagrangian.symbolic.algebra.blocks": (
        "ConstantBlock",
        "LinearMap",
        "blocks",
        "ones",
    ),
    "lagrangian.symbolic.algebra.matrices": ("matmul", "transpose"),
    "lagrangian.symbolic.algebra.losses": ("Loss",),
    "lagrangian.symbolic.algebra.inner": ("Inner",),
    "lagrangian.symbolic.mechanics.bregman": ("bregman_lagrangian",),
    "lagrangian.symbolic.algebra.calculus": (
        "gradient",
        "total_derivative",
        "variation",
    ),
    "lagrangian.symbolic.exact.boundary": ("boundary_term",),
    "lagrangian.symbolic.laws.find": ("find_symmetries",),
    "lagrangian.symbolic.laws.symmetries": ("FoundSymmetry", "Symmetries"),
    "lagrangian.symbolic.algebra.fields": ("Field", "fields"),
    "lagrangian.symbolic.mechanics.field_theory": ("Current", "FieldTheory"),
    "lagrangian.symbolic.mechanics.higher_order": ("HigherOrderLagrangian",),
    "lagrangian.symbolic.laws.backward_error": (
        "Average",
        "ModifiedFlow",
        "Recursion",
        "modified_flow",
    ),
    "lagrangian.symbolic.mechanics.lagrangian": ("Lagrangian",),
    "lagrangian.symbolic.algebra.symmetry": (
        "GeneralLinear",
        "Rescale",
        "Rotation",
        "Scale",
        "Symmetry",
        "TimeTranslation",
        "Translation",
    ),
    "lagrangian.symbolic.laws.noether": ("Law", "noether"),
    "lagrangian.symbolic.mechanics.hamiltonian": ("Hamiltonian", "cyclic", "routh"),
    "lagrangian.lowering.cache": ("cache",),
    "lagrangian.flows.lower": ("lower",),
    "lagrangian.flows.solvers.taylor": ("Taylor",),
    "lagrangian.flows.solvers.symplectic": ("Symplectic",),
    "lagrangian.flows.solvers.variational": ("Variational", "discrete_euler_lagrange"),
    "lagrangian.flows.solvers.rattle": ("Rattle",),
    "lagrangian.flows.ensembles.ensemble": ("Ensemble",),
    "lagrangian.learning.rules.rule": ("Rule",),
    "lagrangian.learning.rules.heavy_ball": ("HeavyBall",),
    "lagrangian.learning.rules.adaptive": ("Adam", "Lion", "RMSProp"),
    "lagrangian.learning.rules.mirror": ("MirrorDescent", "NaturalGradient"),
    "lagrangian.learning.training.train": ("train",),
    "lagrangian.learning.training.observed": ("observed",),
    "lagrangian.learning.training.recorded": ("recorded",),
    "lagrangian.learning.training.run": ("Run",),
    "lagrangian.learning.checking.predict": ("predict",),
    "lagrangian.learning.discover.discovery": ("Discovery", "discover"),
    "lagrangian.learning.checking.check": ("Report", "check"),
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
