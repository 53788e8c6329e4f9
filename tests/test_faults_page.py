"""docs/faults.md names tests and numbers: they are those of the code."""

import re
from pathlib import Path

from lagrangian.networks import user_data
from lagrangian.systems import arithmetic, expression, spec

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text()


def test_every_test_that_is_named_exists():
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert [name for name in sorted(named) if f"def {name}(" not in code] == []


def test_the_bounds_are_those_of_the_code():
    for bound in (
        f"{spec.MAX_BYTES:,} bytes",
        f"{spec.MAX_WORK:,} calls",
        f"{spec.MAX_DERIVING:,} calls",
        f"{expression.MAX_CHARACTERS:,} characters, {expression.MAX_DEPTH} levels",
        f"{expression.MAX_CALLS} functions inside",
        f"{expression.MAX_FACTORS} different factors",
        f"a fraction of {arithmetic.MAX_BITS} bits",
        f"| {arithmetic.MAX_EXPONENT:,}; ",
        f"{user_data.MAX_BYTES // 2**30} GiB uncompressed",
    ):
        assert bound in PAGE, bound
