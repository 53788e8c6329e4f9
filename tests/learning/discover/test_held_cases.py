"""Public code that `discover` and `check` once got wrong, and the test of each case.

Read it as a table; what is tested here is that its tests are there.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
WRITTEN = "discover/test_written.py::"
COUNTS = WRITTEN + "test_as_many_as_by_hand_and_no_other_direction"
HELD = {
    "Dense - BatchNorm - ReLU in Linen, float32": (
        COUNTS,
        WRITTEN + "test_the_epsilon_of_a_normalisation_in_float32",
    ),
    "LayerNorm in float32": (
        COUNTS,
        WRITTEN + "test_layer_norm_in_float32_has_the_plain_scale",
    ),
    "Mamba, and ten more": ("discover/test_architectures.py::test_the_counts_by_hand",),
    "stop_gradient: frozen, SimSiam": (
        WRITTEN + "test_a_loss_that_is_cut_from_its_gradient",
        WRITTEN + "test_two_views_with_a_stopped_target",
    ),
    "fused queries, keys and values; heads by reshape; grouped; rotary": (COUNTS,),
    "gate and up in one kernel; a norm with 1 + scale": (COUNTS,),
    "tied autoencoder; exp(t); phases": (COUNTS,),
    "positions added to tokens: the rank": (
        COUNTS,
        WRITTEN + "test_rows_and_columns_of_one_array_shift_once_together",
    ),
    "tokens that never occur, dead units": (
        WRITTEN + "test_what_no_example_reaches_is_listed_apart",
    ),
    "GELU near linear": ("discover/test_discovery.py::test_gelu_does_not_rescale",),
    "LSTM by nn.RNN; bfloat16 inside": (
        COUNTS,
        WRITTEN + "test_the_types_that_a_loss_rounds_to_are_said",
    ),
    "float32 at a small learning rate": (
        "checking/test_small_moves_and_noise.py::test_rounding_refutes_no_law",
    ),
    "Nesterov under noise": (
        "checking/test_small_moves_and_noise.py::"
        "test_nesterovs_law_holds_under_noise_with_the_mass_that_noise_leaves",
    ),
    "layers that write into parameters": (
        "training/test_loops.py::"
        "test_layers_that_write_into_parameters_train_as_in_the_loop",
    ),
    "decays by a mask, groups of rates": (
        "training/test_groups.py::test_each_block_has_its_own_balance",
        "training/test_groups.py::test_the_law_across_groups_is_of_second_order",
    ),
    "3 x 3 kernels on 1 x 1 images": (
        "discover/test_probe.py::test_taps_that_are_never_used_are_no_symmetry",
    ),
    "nnx.Rngs from outside, whole numbers, TrainState, axis_name, aux": (
        "discover/test_probe.py::test_what_a_loss_takes_from_outside",
        "discover/test_probe.py::test_a_number_in_the_batch_stays_a_python_number",
        "discover/test_probe.py::test_what_a_loss_returns_beside_its_value_is_left_out",
        "test_refusals.py::test_what_cannot_be_trained",
    ),
    "controls: no generator, a bias left out, an epsilon": (
        "discover/test_discovery.py::test_candidates_are_judged_and_controls_fail",
        "discover/test_laws.py::test_a_candidate_has_its_law_and_what_it_leaves_out",
        "discover/test_discovery.py::test_the_epsilon_of_a_normalisation_is_measured",
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_the_case_has_its_tests(case):
    for test in HELD[case]:
        path, name = test.split("::")
        tree = ast.parse((TESTS / path).read_text())
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
