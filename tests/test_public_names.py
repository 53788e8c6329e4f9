"""The public names: all there, documented, and the ones that the README uses."""

import re
from pathlib import Path

import pytest

import lagrangian as lg

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", [n for n in lg.__all__ if not n.startswith("_")])
def test_every_public_name_loads_and_is_documented(name):
    value = getattr(lg, name)
    # `time` and `ones` are SymPy symbols; everything else explains itself.
    assert name in ("time", "ones") or (value.__doc__ or "").strip()


def test_the_readme_uses_public_names_only():
    used = set(re.findall(r"\blg\.([A-Za-z_]+)", README.read_text()))
    assert used and used <= set(lg.__all__), used - set(lg.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute `nother`"):
        lg.nother  # noqa: B018
