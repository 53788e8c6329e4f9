"""The public names: all there, documented, and the ones that the README uses."""

import doctest
import inspect
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


@pytest.mark.parametrize("name", [n for n in lg.__all__ if not n.startswith("_")])
def test_every_public_name_has_an_example(name):
    """In its docstring; they run as doctests."""
    assert doctest.DocTestParser().get_examples(getattr(lg, name).__doc__), name


def test_the_systems_are_names_of_a_room_of_their_own():
    assert lg.systems.kepler().name == "kepler"
    assert {name.replace("-", "_") for name in lg.systems.SYSTEMS} < set(
        dir(lg.systems)
    )
    with pytest.raises(AttributeError, match="Nearest: `kepler`"):
        lg.systems.keplr  # noqa: B018


def test_the_readme_uses_public_names_only():
    used = set(re.findall(r"\blg\.([A-Za-z_]+)", README.read_text()))
    assert used and used <= set(lg.__all__), used - set(lg.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute `nother`"):
        lg.nother  # noqa: B018


def parameters():
    """Every parameter of public functions and of public classes' public methods."""
    seen = set()
    for name in lg.__all__:
        value = getattr(lg, name)
        methods = inspect.getmembers(value) if inspect.isclass(value) else []
        found = [(name, value), *((f"{name}.{k}", m) for k, m in methods)]
        for place, function in found:
            plain = inspect.unwrap(getattr(function, "__func__", function))
            own = place.rpartition(".")[2]
            if not inspect.isfunction(plain) or plain in seen:
                continue
            if not plain.__module__.startswith("lagrangian"):
                continue
            if own.startswith("_") and own not in ("__init__", "__getitem__"):
                continue
            seen.add(plain)
            for parameter in inspect.signature(plain).parameters.values():
                if parameter.name not in ("self", "cls"):
                    yield f"{place}({parameter.name})", str(parameter.annotation)


def test_public_parameters_have_types():
    annotated = dict(parameters())
    loose = [p for p, kind in annotated.items() if "empty" in kind or kind == "Any"]
    assert len(annotated) > 300
    assert len(loose) < len(annotated) / 10, loose


def test_the_package_says_that_it_is_typed():
    assert Path(lg.__file__).with_name("py.typed").exists()


def test_rules_and_errors_have_rooms_of_their_own():
    assert lg.rules.HeavyBall is lg.HeavyBall
    assert lg.errors.CannotLower is lg.CannotLower
    with pytest.raises(AttributeError, match="Nearest: `Symplectic`"):
        lg.Sympletic  # noqa: B018


def test_completion_of_a_room_offers_what_is_in_it():
    assert set(dir(lg.rules)) == set(lg.rules.__all__)
    assert "CannotLower" in dir(lg.errors)
    for name in dir(lg.errors):
        assert issubclass(getattr(lg.errors, name), Exception), name
    assert set(dir(lg)) == set(lg.__all__)
