"""Public architectures: the generators that docs/discover.md counts by hand."""

import pytest

from lagrangian.learning.discover.discovery import discover

from . import architectures
from .architectures import D, F, H, K, T, W

#: A head's queries against its keys, and values against outputs.
PAIRS = H * 2 * W**2
#: Of one block behind LayerNorm, with biases: heads, biases of keys and of values, both
#: norms against what they feed, and what is written into a stream that is centred.
BLOCK = PAIRS + 2 * H * W + 2 * (D + D) + (H * W + 1) + (F + 1)
SOFTMAX = D + 1

#: Where the stream is centred and its norms have scales g, it may turn by R as kernels
#: behind them become 1/g R^T g times themselves; and what reads it may gain c/g, for
#: each output (one of which softmax does not see anyway). Both depend on the point:
#: they are no affine symmetries.
TURNS = (D - 1) * (D - 2) // 2

#: Exact generators; approximate ones that a norm's epsilon spoils; other directions.
COUNTS = {
    # A scale for each channel of the stream, and of the block; what softmax shifts.
    "resnet": (3 + 3 + 3 + 1, 3 * 3, 0),
    # Patches; positions against the patches' bias, which overlap once.
    "vit": (
        BLOCK + (D + D) + SOFTMAX + 4 + (1 + T + D - 1),
        1,
        TURNS + 3 * H * W + F + (K - 1),
    ),
    # Positions are centred; against them, tokens shift all logits.
    "gpt2": (BLOCK + T + D, 1, 3 * H * W + F),
    # Two queries share keys with one frequency, and values; three norms; up and down.
    "llama": (2 + W**2 + 3 * D + F + D, 1, D * (D - 1) // 2),
    "gemma": (2 + W**2 + 2 * D + F, 1, 0),
    # Taps and bias of the stem, biases of the depthwise one, two norms with what they
    # feed, gamma, softmax. What gamma scales may shift by 1 / gamma.
    "convnext": (4 + 1 + 1 + 2 * (3 + 3) + 3 + (3 + 1), 3, 6 + (K - 1) + (6 + 1)),
    # Patches and bias; a norm as a whole against the mixing of tokens, whose last bias
    # is centred; the other norms; what is written; softmax.
    "mixer": ((4 + 1) + 2 + T + 2 * (D + D) + (F + 1) + SOFTMAX, 1, F + (K - 1)),
    "unet": (2 + 3 + 2 + 2 + 1, 0, 0),
    # The norm, channels before the convolution, B against C, dt; C and the skip
    # against what reads them.
    "mamba": (D + 4 + 2 + 1 + 1, 0, 0),
    # Units of each expert; the router's rows.
    "experts": (3 * 3 + D, 0, 0),
    # GL(D) between tokens and kernel, shifts that the bias takes, softmax.
    "lstm": (D**2 + D + 3 + 1, 0, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_the_counts_by_hand(name):
    exact, near, others = COUNTS[name]
    discovery = discover(*getattr(architectures, name)())
    assert discovery.dimension == exact, discovery
    rows = [s.evidence for s in discovery.approximate]
    assert sum(r.generators for r in rows if r.residual < 5e-3) == near, discovery
    assert discovery.census.missing == others, discovery
    for symmetry in discovery:
        assert symmetry.evidence.defect < 1e-9, discovery
