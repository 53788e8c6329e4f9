"""The transformations of optax, as the page of the docs has them."""

import importlib.util
import warnings
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[4] / "scripts" / "document_optax.py"
_SPEC = importlib.util.spec_from_file_location("document_optax", _PATH)
document = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(document)


@pytest.fixture(autouse=True)
def quiet_optax():
    """optax warns of its own deprecated arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
