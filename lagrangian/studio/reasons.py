"""Why a law holds or fails, in sentences that somebody new to it can follow."""

from __future__ import annotations

from lagrangian.learning.checking.report import (
    ABSENT,
    APPROXIMATE,
    FAILS,
    HOLDS,
    UNDECIDED,
    Row,
)

_WHAT = {
    HOLDS: "Both laws of this symmetry describe the run.",
    ABSENT: "The loss changes along this direction, so that Noether's theorem has no "
    "premise: nothing is conserved that the law could be about.",
    APPROXIMATE: "The loss hardly changes along this direction, but it does: the exact "
    "bookkeeping misses by more than rounding.",
    FAILS: "The symmetry is there, and the step by step bookkeeping of its charge was "
    "followed; but the continuous law, solved from the start alone, leaves the run.",
    UNDECIDED: "The numbers are too coarse to tell.",
}
_TRY = {
    ABSENT: "Look at what touches these arrays besides: a bias left out of the block, "
    "an array used twice, an activation that is not homogeneous.",
    APPROXIMATE: "Make the epsilon of the normalisation smaller, or keep its "
    "statistics in the precision of the parameters, and see the residual fall.",
    FAILS: "Halve the learning rate: the error of a continuous law falls with its "
    "square. Where it does not, look for a schedule or a clipped step.",
    UNDECIDED: "Train in float64, or for longer.",
}
#: A share below this moved nothing that one would see.
_SEEN = 0.005


def why(row: Row) -> tuple[str, ...]:
    """The verdict in words, the numbers behind it, what moved the charge, what to try.

    Args:
        row: of `lg.check`.
    """
    said = [_WHAT[row.verdict], f"{row.reason[:1].upper()}{row.reason[1:]}."]
    if row.verdict == FAILS and row.balance > row.rounding:
        # Not even the bookkeeping: the run is not that of the rule.
        said = said[1:]
    slope = 1 - row.kinetic - row.decay if row.defect > row.rounding else 0.0
    shares = {
        "the steps themselves, which are straight where the orbit is curved (kinetic "
        "symmetry breaking)": row.kinetic,
        "the weight decay": row.decay,
        "the slope of the loss along the generator": slope,
    }
    moved = [f"{share:.0%} {what}" for what, share in shares.items() if share > _SEEN]
    if moved:
        said.append(f"What moved the charge: {', '.join(moved)}.")
    if row.metric > _SEEN:
        said.append(
            f"The metric of the rule turns the step: {row.metric:.0%} of its part "
            "along the symmetry is no gradient's."
        )
    if row.raw is not None and row.raw_factor is not None and row.raw_factor > 1.5:
        said.append(
            f"With the gradients of minibatches in the place of the measured velocity, "
            f"its source would come out {row.raw_factor:.1f} times too large, and the "
            f"prediction off by {row.raw:.0%}."
        )
    if advice := _TRY.get(row.verdict):
        said.append(advice)
    return tuple(said)
