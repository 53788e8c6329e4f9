import jax.numpy as jnp
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.lowering.pytrees import named_leaves, pick


def test_leaves_have_dotted_paths_in_any_pytree():
    tree = {"a": {"b": jnp.ones(2)}, "c": [jnp.zeros(1), jnp.ones(1)]}
    assert sorted(named_leaves(tree)) == ["a.b", "c.0", "c.1"]


def test_leaves_of_a_flax_state():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(2, 3, rngs=rngs)])
            self.out = nnx.Linear(3, 1, rngs=rngs)

    state = nnx.state(Network(nnx.Rngs(0)), nnx.Param)
    assert sorted(named_leaves(state)) == [
        "layers.0.bias",
        "layers.0.kernel",
        "out.bias",
        "out.kernel",
    ]


def test_an_unknown_block_lists_the_nearest():
    leaves = {"conv1.kernel": 1, "conv2.kernel": 2, "dense.bias": 3}
    with pytest.raises(
        lg.UnknownBlock, match="Network has no block `conv1.kernal`. Nearest: `conv1.k"
    ):
        pick(leaves, ["conv1.kernal"], "Network")
