"""Mirrors are planes that training cannot leave."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.noise import symmetry_constraint as module


def test_equal_pairs_stay_equal_in_the_users_own_loop():
    """Written out in NumPy, for one pair: both units get the same gradient."""
    began = module.fixed(module.PAIRS, module.start(0))
    for name in ("first", "bias"):
        array = began[name].reshape(-1, module.UNITS)
        np.testing.assert_array_equal(array[:, ::2], array[:, 1::2])
    end, distance = module._run(began, module.RULES["Adam"], 0, 20, module.PAIRS)
    assert distance.max() == 0
    np.testing.assert_array_equal(end["second"][::2], end["second"][1::2])


def test_it_is_verified_quickly():
    assert lg.verify("symmetry-constraint", quick=True).holds


def test_other_rates_are_refuted():
    """Both rates halved: not the same as one unit."""
    right = module.trained

    def wrong(*arguments, rates=None, **others):
        if rates is not None:
            rates = {name: 1.01 * rate for name, rate in rates.items()}
        return right(*arguments, rates=rates, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "trained", wrong)
        claims = list(module._merged(0, True))
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("symmetry-constraint", seed=seed).holds
