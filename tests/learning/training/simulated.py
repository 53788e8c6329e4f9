"""A run without a network, in which thousands of faults take seconds.

It drives the recorder and the checkpoint as `train` does: chunks of steps, a state
after each. The numbers are those of a recurrence that forgets nothing, so that one bit
that is lost anywhere shows at the end.
"""

from types import SimpleNamespace

import numpy as np

from lagrangian.learning.training.checkpoint import Checkpoint
from lagrangian.learning.training.identity import Identity
from lagrangian.learning.training.recorder import Recorder

CHUNK, STEPS = 3, 12
IDENTITY = Identity({"rule": "a recurrence", "step": "0"}, {"python": "any"})
_OBSERVATION = SimpleNamespace(products=["a", "b"], carried=["a"], laws=())


def drive(folder, steps=STEPS, identity=IDENTITY, start=0.5):
    """Run in `folder` to so many steps; returns all that was recorded, as bytes."""
    shapes, dtypes = [(2,), ()], (np.float32, np.float32)
    carry = (np.float32(start), np.arange(3, dtype=np.float32))
    with Checkpoint(folder, identity) as states:
        mark, carry = states.restore(carry)
        recorder = Recorder(_OBSERVATION, shapes, {}, steps, dtypes, states.folder)
        try:
            recorder.open(mark)
            mark = recorder.mark()
            try:
                while recorder.steps < steps:
                    records, carry_after = _chunk(carry)
                    closing = np.asarray(carry_after[1][:2], np.float32)
                    assert recorder.extend(records, closing) is None
                    carry, mark = carry_after, recorder.mark()
                    recorder.flush()
                    states.save(mark, carry)
            finally:
                recorder.flush()
                states.save(mark, carry)
            rows = recorder._losses, recorder._rates, recorder._products
            kept = [r.array(steps).tobytes() for r in rows]
            return (
                *kept,
                recorder.mark().closing.tobytes(),
                np.asarray(carry[1]).tobytes(),
            )
        finally:
            recorder.close()


def _chunk(carry):
    x, y = np.float32(carry[0]), np.asarray(carry[1], np.float32)
    losses, products = [], []
    for _ in range(CHUNK):
        losses.append(x)
        products.append(np.append(y[:2], x))
        x = np.float32(np.sin(x * np.float32(1.7)) + y[2])
        y = np.float32(0.9) * np.roll(y, 1) + x
    losses, products = np.array(losses), np.array(products, np.float32)
    records = {"loss": losses, "rate": np.full(CHUNK, 0.1), "products": products}
    return records, (x, y)
