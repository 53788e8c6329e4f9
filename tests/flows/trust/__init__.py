"""The stress suite of the flows: cases, their true motions, and the verdict on a run.

`suite.problems()` lists everything. The true motions lie in references.npz, which
`scripts/trust_references.py` computes by means that share no code with the flows.
"""
