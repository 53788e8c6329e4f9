"""Discovered symmetries: counts known in closed form, controls, and what follows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lagrangian as lg

random = np.random.default_rng(0)
BATCH = (
    jnp.asarray(random.normal(size=(64, 6)), jnp.float32),
    jnp.asarray(random.integers(0, 3, 64)),
)
INPUTS, WIDE, NARROW, CLASSES = 6, 8, 5, 3


class Perceptron(nnx.Module):
    def __init__(self, activation=nnx.relu, norm=False, bias=True):
        rngs = nnx.Rngs(0)
        self.a = nnx.Linear(INPUTS, WIDE, use_bias=bias, rngs=rngs)
        self.b = nnx.Linear(WIDE, NARROW, use_bias=bias, rngs=rngs)
        self.c = nnx.Linear(NARROW, CLASSES, rngs=rngs)
        self.norm = nnx.BatchNorm(WIDE, epsilon=1e-20, rngs=rngs) if norm else None
        self.activation = activation

    def __call__(self, x):
        x = self.a(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.c(self.activation(self.b(self.activation(x))))


class Tied(nnx.Module):
    """Two layers with one kernel: each unit's scale would act on both."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.a = nnx.Linear(INPUTS, INPUTS, use_bias=False, rngs=rngs)
        self.c = nnx.Linear(INPUTS, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.c(nnx.relu(self.a(nnx.relu(self.a(x)))))


def loss(model, batch):
    logits = model(batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def counts(discovery):
    return {row.description: row.generators for row in discovery.rows}


#: Softmax ignores what is added to all logits: one bias, and one for every input.
SHIFTS = NARROW + 1


def test_relu_rescales_every_hidden_unit():
    found = lg.discover(Perceptron(), loss, BATCH)
    assert found.dimension == WIDE + NARROW + SHIFTS
    assert sorted(counts(found).values()) == sorted([WIDE, NARROW, NARROW, 1])
    assert not found.approximate


def test_leaky_relu_does_as_well_and_gelu_does_not():
    leaky = lg.discover(Perceptron(nnx.leaky_relu), loss, BATCH)
    assert leaky.dimension == WIDE + NARROW + SHIFTS
    gelu = lg.discover(Perceptron(jax.nn.gelu), loss, BATCH)
    assert gelu.dimension == SHIFTS
    assert [s.evidence.generators for s in gelu.approximate] == [WIDE, NARROW]
    assert all(s.evidence.defect > 1e-3 for s in gelu.approximate)


def test_linear_layers_have_the_general_linear_groups():
    found = lg.discover(Perceptron(lambda x: x, bias=False), loss, BATCH)
    assert found.dimension == WIDE**2 + NARROW**2 + SHIFTS


def test_a_normalised_layer_has_a_scale_a_unit_and_a_bias_that_does_nothing():
    found = lg.discover(Perceptron(norm=True), loss, BATCH)
    scales = [n for name, n in counts(found).items() if "scale of a.kernel" in name]
    idle = [n for name, n in counts(found).items() if "shift of a.bias" in name]
    assert scales == [WIDE] and idle == [WIDE]


def test_tied_weights_get_no_symmetry_of_untied_ones():
    tied = lg.discover(Tied(), loss, BATCH)
    assert tied.dimension == INPUTS + 1 + 1  # the shifts, and one scale for the whole
    assert all("a.kernel[..., k]" not in name for name in counts(tied))


def test_an_absent_symmetry_moves_the_loss():
    absent = lg.Scale("b.kernel", unit_axis=-1)
    (row,) = lg.discover(Perceptron(), loss, BATCH, candidates=[absent]).tested
    assert row.kind == "absent" and row.defect > 1e-3


def test_the_table_names_every_symmetry_with_its_evidence():
    text = str(lg.discover(Perceptron(), loss, BATCH))
    assert "rescale a.bias[k], a.kernel[..., k] against b.kernel[k, ...]" in text
    assert "exact" in text and "independent generators" in text


@pytest.mark.parametrize("norm", [False, True])
def test_from_a_model_to_certified_laws(norm):
    model = Perceptron(norm=norm)
    rule = lg.HeavyBall(learning_rate=0.05, momentum=0.9, weight_decay=1e-3)
    symmetries = lg.discover(model, loss, BATCH)
    laws = [lg.noether(rule.lagrangian(s.loss), s) for s in symmetries]
    run = lg.train(
        model, loss, BATCH, rule, 200, observe=laws, maps=symmetries.maps,
        batch_size=None, progress=False,
    )  # fmt: skip
    report = lg.check(run, laws)
    assert all(row.verdict == "holds" for row in report.rows), str(report)


def test_a_loss_that_is_no_scalar_is_named():
    with pytest.raises(lg.LagrangianError, match="must return a scalar"):
        lg.discover(Perceptron(), lambda m, b: m(b[0]), BATCH)
