"""The public face: every name, and the module that it comes from.

Read when the package is imported, and by editors and type checkers.
"""

from . import errors as errors, rules as rules, systems as systems
from .errors import (
    CannotLower as CannotLower,
    CannotSave as CannotSave,
    IntegrationFailed as IntegrationFailed,
    InvalidLagrangian as InvalidLagrangian,
    InvalidSymmetry as InvalidSymmetry,
    LagrangianError as LagrangianError,
    TrainingStopped as TrainingStopped,
    UnknownBlock as UnknownBlock,
)
from .flows.ensembles.ensemble import (
    Ensemble as Ensemble,
)
from .flows.fields.field_flow import (
    FieldFlow as FieldFlow,
)
from .flows.fields.field_trajectory import (
    FieldTrajectory as FieldTrajectory,
)
from .flows.flow import (
    Flow as Flow,
)
from .flows.lower import (
    lower as lower,
)
from .flows.path import (
    Path as Path,
)
from .flows.solvers.rattle import (
    Rattle as Rattle,
)
from .flows.solvers.symplectic import (
    Symplectic as Symplectic,
)
from .flows.solvers.taylor import (
    Taylor as Taylor,
)
from .flows.solvers.variational import (
    Variational as Variational,
    discrete_euler_lagrange as discrete_euler_lagrange,
)
from .flows.trajectory import (
    Trajectory as Trajectory,
)
from .learning.checking.check import (
    check as check,
)
from .learning.checking.predict import (
    predict as predict,
)
from .learning.checking.report import (
    Report as Report,
    Row as Row,
)
from .learning.count_laws import (
    LawCount as LawCount,
    count_laws as count_laws,
)
from .learning.discover.discovery import (
    Discovery as Discovery,
    discover as discover,
)
from .learning.gradient_noise import (
    GradientNoise as GradientNoise,
    gradient_noise as gradient_noise,
)
from .learning.input_group import (
    InputGroup as InputGroup,
)
from .learning.linear_path import (
    LinearPath as LinearPath,
    linear_path as linear_path,
)
from .learning.network_flow import (
    NetworkFlow as NetworkFlow,
    network_flow as network_flow,
)
from .learning.network_path import NetworkPath as NetworkPath
from .learning.orbit import (
    Orbit as Orbit,
)
from .learning.rules.adaptive import (
    Adam as Adam,
    Lion as Lion,
    RMSProp as RMSProp,
)
from .learning.rules.heavy_ball import (
    HeavyBall as HeavyBall,
)
from .learning.rules.mirror import (
    MirrorDescent as MirrorDescent,
    NaturalGradient as NaturalGradient,
)
from .learning.rules.read.read import (
    rule as rule,
)
from .learning.rules.rule import (
    Rule as Rule,
    friction as friction,
    mass as mass,
)
from .learning.tangent_kernel import (
    tangent_kernel as tangent_kernel,
)
from .learning.training.imported import (
    imported as imported,
)
from .learning.training.observed import (
    observed as observed,
)
from .learning.training.recorded import (
    recorded as recorded,
)
from .learning.training.run import (
    Record as Record,
    Run as Run,
)
from .learning.training.train import (
    train as train,
)
from .learning.unit_symmetry import (
    OddBlock as OddBlock,
    Permutation as Permutation,
    Reflection as Reflection,
    UnitSymmetry as UnitSymmetry,
)
from .lowering.cache import (
    cache as cache,
)
from .lowering.laws import (
    LoweredLaw as LoweredLaw,
)
from .symbolic.algebra.blocks import (
    Block as Block,
    ConstantBlock as ConstantBlock,
    LinearMap as LinearMap,
    blocks as blocks,
    ones as ones,
)
from .symbolic.algebra.calculus import (
    gradient as gradient,
    total_derivative as total_derivative,
    variation as variation,
)
from .symbolic.algebra.coordinates import (
    Coordinate as Coordinate,
    coordinates as coordinates,
    time as time,
)
from .symbolic.algebra.fields import (
    Field as Field,
    fields as fields,
)
from .symbolic.algebra.inner import (
    Inner as Inner,
)
from .symbolic.algebra.losses import (
    Loss as Loss,
)
from .symbolic.algebra.matrices import (
    matmul as matmul,
    transpose as transpose,
)
from .symbolic.algebra.symmetry import (
    GeneralLinear as GeneralLinear,
    Rescale as Rescale,
    Rotation as Rotation,
    Scale as Scale,
    Symmetry as Symmetry,
    TimeTranslation as TimeTranslation,
    Translation as Translation,
)
from .symbolic.exact.boundary import (
    boundary_term as boundary_term,
)
from .symbolic.laws.backward_error import (
    Average as Average,
    ModifiedFlow as ModifiedFlow,
    Recursion as Recursion,
    modified_flow as modified_flow,
)
from .symbolic.laws.algebra import (
    LieAlgebra as LieAlgebra,
)
from .symbolic.laws.discrete import (
    Steps as Steps,
    gain as gain,
    learning_rate as learning_rate,
    momentum as momentum,
    role as role,
    weight_decay as weight_decay,
)
from .symbolic.laws.find import (
    find_symmetries as find_symmetries,
)
from .symbolic.laws.noether import (
    Law as Law,
    noether as noether,
)
from .symbolic.laws.oscillator import (
    Oscillator as Oscillator,
)
from .symbolic.laws.second_theorem import (
    noether_identity as noether_identity,
)
from .symbolic.laws.symmetries import (
    Symmetries as Symmetries,
)
from .symbolic.mechanics.bregman import (
    bregman_lagrangian as bregman_lagrangian,
)
from .symbolic.mechanics.field_theory import (
    FieldTheory as FieldTheory,
)
from .symbolic.mechanics.hamiltonian import (
    Hamiltonian as Hamiltonian,
    cyclic as cyclic,
    routh as routh,
)
from .symbolic.mechanics.higher_order import (
    HigherOrderLagrangian as HigherOrderLagrangian,
)
from .symbolic.mechanics.lagrangian import (
    Lagrangian as Lagrangian,
)
from .symbolic.mechanics.theory import (
    Theory as Theory,
)
from .theorems.catalogue import (
    verify as verify,
)
from .theorems.theorem import (
    Verification as Verification,
)
from .version import __version__ as __version__
