"""The number of laws of a model, against what is known and what is written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.learning.count_laws import lie_closure, row_space
from lagrangian.networks.networks import Perceptron

normal = np.random.default_rng(0).normal
X = normal(size=(40, 3))


def two_layers(activation, sizes=(3, 2, 2)):
    w = {"first": normal(size=sizes[:2]), "second": normal(size=sizes[1:])}
    return w, lambda w, x: activation(x @ w["first"]) @ w["second"]


@pytest.mark.parametrize(
    ("activation", "laws"), [(lambda x: x, 3), (jax.nn.relu, 2), (jnp.tanh, 0)]
)
def test_two_layers(activation, laws):
    model, outputs = two_layers(activation)
    found = lg.count_laws(model, outputs, X)
    assert (found.laws, found.dimensions) == (laws, 10)
    assert found.levels[-1] == 10 - laws
    assert found.dropped < 1e-12 < 1e-6 < found.smallest
    assert f"LawCount({laws} laws" in repr(found)


def test_a_flax_module_with_biases_that_are_zero():
    """A new network has zero biases: a special point, with the laws of any other."""
    model = Perceptron((3, 2, 2), nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(model))
    found = lg.count_laws(model, lambda model, x: model(x), X)
    assert found.laws == 2 and found.dimensions == 14
    same = jax.tree.map(np.array_equal, before, nnx.state(model))
    assert jax.tree.all(same)


def test_a_cross_entropy_does_not_pull_at_the_sum_of_the_logits():
    """Softmax regression: the sum of the weights into all classes, one each input."""
    w = {"kernel": normal(size=(3, 4))}
    logits = lambda w, x: x @ w["kernel"]
    found = lg.count_laws(w, lambda w, x: jax.nn.log_softmax(logits(w, x)), X)
    assert found.laws == 3
    # The control: a loss that pulls at every logit.
    assert lg.count_laws(w, logits, X).laws == 0


def test_few_inputs_leave_more_laws():
    w = {"kernel": normal(size=(3, 1))}
    outputs = lambda w, x: x @ w["kernel"]
    assert [lg.count_laws(w, outputs, X[:k]).laws for k in (1, 2, 3)] == [2, 1, 0]


def test_momentum_keeps_angular_momenta():
    """A particle in the plane under any central force: its angular momentum."""
    w = {"x": normal(size=2)}
    outputs = lambda w, _: jnp.sum(w["x"] ** 2)[None]
    assert lg.count_laws(w, outputs, X, momentum=True).laws == 1
    assert lg.count_laws(w, outputs, X).laws == 1
    # The control: no force is central about two points.
    twice = lambda w, _: jnp.array([jnp.sum(w["x"] ** 2), jnp.sum((w["x"] - 1) ** 2)])
    assert lg.count_laws(w, twice, X, momentum=True).laws == 0


def test_the_number_does_not_depend_on_the_seed():
    model, outputs = two_layers(jax.nn.relu)
    assert {lg.count_laws(model, outputs, X, seed=s).laws for s in range(3)} == {2}


def test_brackets_of_known_fields():
    """d/dx and d/dy + x d/dz: the Heisenberg algebra fills R^3 with one bracket."""
    fields = lambda c, x: (
        c[0] * jnp.array([1.0, 0.0, 0.0])
        + c[1] * jnp.stack([jnp.zeros(()), jnp.ones(()), x[0]])
    )
    found = lie_closure(fields, 2, np.array([0.3, 1.0, -2.0]), seed=0)
    assert found.levels == (2, 3)
    # Two that commute stay in their plane, and the third direction is the law.
    flat = lambda c, x: jnp.stack([c[0], c[1], jnp.zeros(())])
    found = lie_closure(flat, 2, np.array([0.3, 1.0, -2.0]), seed=0)
    assert found.levels == (2, 2)
    assert np.abs(found.reached @ np.array([0.0, 0.0, 1.0])).max() < 1e-15


def test_the_row_space_of_nothing_is_empty():
    assert row_space(np.zeros((4, 3))).shape == (0, 3)
    fields = lambda c, x: 0.0 * c[0] * x
    assert lie_closure(fields, 1, np.ones(3), seed=0).count.laws == 3


def test_a_number_that_still_grows_is_refused():
    model, outputs = two_layers(jnp.tanh)
    with pytest.raises(LagrangianError, match="`most_brackets`"):
        lg.count_laws(model, outputs, X[:1], most_brackets=0)


def test_an_unclear_rank_is_refused():
    """A direction that is reached a millionth of a millionth as far as another."""
    slope = lambda c, x: jnp.stack([c[0], 1e-8 * c[1], 1e-10 * c[2]])
    with pytest.raises(LagrangianError, match="unclear"):
        lie_closure(slope, 3, np.ones(3), seed=0)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda w, x: jnp.asarray(x @ w["first"], jnp.float32), "float32"),
        (lambda w, x: x @ w["first"] / 0, "not finite"),
        (lambda w, x: np.asarray(w["first"]), "`outputs` does something"),
    ],
)
def test_outputs_that_cannot_be_counted_are_refused(outputs, message):
    model, _ = two_layers(jnp.tanh)
    with pytest.raises(LagrangianError, match=message):
        lg.count_laws(model, outputs, X)


def test_too_large_a_model_is_refused():
    w = {"kernel": np.ones((50, 50))}
    with pytest.raises(LagrangianError, match="2500 dimensions"):
        lg.count_laws(w, lambda w, x: w["kernel"] @ jnp.ones(50), X)
