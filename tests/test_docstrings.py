"""What the docstrings of the public names say is what the code does.

They are read as the site reads them: parameters, results, errors. Methods that the
engine alone calls, and what SymPy defines, are left out.
"""

import ast
import builtins
import functools
import inspect
import re
import runpy
import sys
import textwrap
from pathlib import Path

import pytest

import lagrangian as lg
from lagrangian.errors import LagrangianError
from lagrangian.flows.scalar_flow import ScalarFlow
from lagrangian.flows.solvers.solver import Solver

griffe = pytest.importorskip("griffe", reason="comes with the extra `docs`")

ROOT = Path(__file__).parents[1]
#: Says of a method what its implementations need not say again.
PROTOCOLS = (lg.Theory, Solver)
ARRAY = re.compile(r"\b(ArrayLike|ndarray|Array)\b")
SHAPE = re.compile(r"\bshapes?\b|\bnumbers?\b|\bscalar|\bas (for|of) |pytree")


as_markdown = runpy.run_path(ROOT / "scripts" / "docstrings.py")["as_markdown"]


def of_package(thing):
    return getattr(thing, "__module__", "").split(".")[0] == "lagrangian"


def plain(member):
    """The function behind a property, a class method or a wrapper."""
    for inner in ("fget", "func", "__func__"):
        member = getattr(member, inner, None) or member
    return inspect.unwrap(member) if callable(member) else member


def sections(text):
    """Of a docstring: {kind: {name: description}}, and whether it has `Returns`."""
    found = {}
    markdown = as_markdown(inspect.cleandoc(text or ""))
    for section in griffe.Docstring(markdown).parse("google", warnings=False):
        kind = section.kind.value
        if kind in ("parameters", "attributes"):
            entries = {x.name: x.description for x in section.value}
        elif kind == "raises":
            entries = {x.annotation: x.description for x in section.value}
        else:
            entries = {"": section.value}
        for names, description in entries.items():
            for name in re.split(r",\s", str(names)):
                found.setdefault(kind, {})[name] = description
    return found


class Documented:
    """A public function, class or method, and the docstrings that speak of it."""

    def __init__(self, name, code, docs, parameters):
        self.name, self.code = name, code
        self.docs = [doc for doc in docs if doc]
        self.read = [sections(doc) for doc in self.docs]
        self.parameters = parameters

    def said(self, *kinds):
        """What any of the docstrings says under these headings, the nearest first."""
        both = [part.get(kind, {}) for part in self.read for kind in kinds]
        return functools.reduce(lambda a, b: {**b, **a}, both, {})

    def __repr__(self):
        return self.name


def parameters_of(code):
    try:
        signature = inspect.signature(code)
    except ValueError:  # an error, whose message is Python's
        return {}
    if getattr(code, "_is_protocol", False):
        return {}
    return {
        name: str(parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls") and name[0] != "_"
    }


def members(owner):
    """What a class offers by name, but for the engine's and SymPy's."""
    hidden = getattr(owner, "_engine", frozenset())
    foreign = [base for base in owner.__mro__ if not of_package(base)]
    for name in dir(owner):
        called = name in ("__call__", "__getitem__")
        if (name[0] == "_" and not called) or name in hidden:
            continue
        if any(name in vars(base) for base in foreign):
            continue
        bases = [base for base in owner.__mro__ if name in vars(base)]
        member = vars(bases[0])[name] if bases else None
        is_property = isinstance(member, property | functools.cached_property)
        code = plain(member)
        if not inspect.isfunction(code):
            continue
        spoken = [plain(vars(base)[name]).__doc__ for base in bases]
        if is_property:
            attributes = [
                sections(base.__doc__).get("attributes", {}) for base in bases
            ]
            spoken += [known[name] for known in attributes if name in known]
        else:
            spoken += [
                plain(vars(protocol)[name]).__doc__
                for protocol in PROTOCOLS
                if name in vars(protocol) and offers(owner, protocol)
            ]
        if called:
            spoken.append(owner.__doc__)
        yield Documented(
            f"{bases[0].__name__}.{name}",
            code,
            spoken,
            {} if is_property else parameters_of(code),
        )


def offers(owner, protocol):
    methods = [name for name, x in vars(protocol).items() if inspect.isfunction(x)]
    return all(hasattr(owner, name) for name in methods if name[0] != "_")


def public():
    names = {name: getattr(lg, name) for name in lg.__all__ if name[0] != "_"}
    names |= {kind.__name__: kind for kind in (ScalarFlow,)}
    names |= {f"rules.{name}": getattr(lg.rules, name) for name in lg.rules.__all__}
    names |= {f"systems.{name}": getattr(lg.systems, name) for name in dir(lg.systems)}
    for name, value in names.items():
        if inspect.isclass(value):
            docs = [base.__doc__ for base in value.__mro__ if of_package(base)]
            yield Documented(name, value, docs, parameters_of(value))
            yield from members(value)
        elif inspect.isfunction(value):
            yield Documented(name, value, [value.__doc__], parameters_of(value))


#: What several classes inherit, and names that stand in two rooms, once.
PUBLIC = list({thing.code: thing for thing in public()}.values())


def raised(thing):
    """The classes of the errors that its own source raises."""
    codes = [thing.code]
    if inspect.isclass(thing.code):
        makers = ("__init__", "__new__", "__post_init__")
        codes = [vars(thing.code)[name] for name in makers if name in vars(thing.code)]
    for code in codes:
        code = plain(code)
        if code.__code__.co_filename == "<string>" or code.__module__ == "typing":
            continue  # made by a dataclass or a protocol
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                yield from errors_of(node.exc, code)


def errors_of(expression, code):
    called = expression.func if isinstance(expression, ast.Call) else expression
    if isinstance(called, ast.Name):
        value = code.__globals__.get(called.id, getattr(builtins, called.id, None))
        if value is NotImplementedError and called is expression:
            return  # an abstract method
        if inspect.isfunction(value):
            yield str(value.__annotations__.get("return", "?")).split(".")[-1]
        elif inspect.isclass(value):
            yield value.__name__


MADE = re.compile(r"[Mm]ade by `(?:lg\.)?(\w+)`")


def faults(thing):
    """What its docstrings do not say, or say of what is not there."""
    if not thing.docs:
        yield "no docstring"
        return
    said = thing.said("parameters", "attributes")
    made = inspect.isclass(thing.code) and MADE.search(thing.docs[0])
    if made:  # Nobody calls it: what it has are attributes.
        if not said or not callable(getattr(lg, made[1], None)):
            yield f"made by `{made[1]}`, and no attributes"
    else:
        yield from (
            f"{name} is not described" for name in {*thing.parameters} - {*said}
        )
        for name, annotation in thing.parameters.items():
            if ARRAY.search(annotation) and not SHAPE.search(said.get(name, "")):
                yield f"{name} has no shape"
    stale = {*thing.read[0].get("parameters", {})} - {*thing.parameters}
    yield from (f"{name} is no parameter" for name in stale)
    known = thing.said("raises")
    yield from (f"{name} is raised" for name in {*raised(thing)} - {*known})
    for name in known:
        places = (lg, builtins, sys.modules[thing.code.__module__])
        found = next((getattr(p, name) for p in places if hasattr(p, name)), None)
        if not inspect.isclass(found) or not issubclass(found, Exception):
            yield f"{name} is no error"
    # Without parameters the first line says it.
    if not inspect.isclass(thing.code) and thing.parameters:
        result = inspect.signature(thing.code).return_annotation
        if result not in (None, "None") and not thing.said("returns", "yields"):
            yield "nothing of what it returns"


@pytest.mark.parametrize("thing", PUBLIC, ids=repr)
def test_it_says_what_the_code_does(thing):
    assert list(faults(thing)) == []


@pytest.mark.parametrize("name", lg.systems.SYSTEMS)
def test_a_system_says_its_units(name):
    units = re.compile(r"[Dd]imensionless|SI\s+units|\bin (m|kg)\b")
    assert units.search(lg.systems.SYSTEMS[name].__doc__)


def wanting(a: "ArrayLike", b: int) -> int:  # noqa: F821
    """Adds.

    Args:
        a: an array.
        c: nothing.

    Raises:
        NoSuchError: never.
    """
    raise LagrangianError("as it is")


def whole(a: "ArrayLike") -> int:  # noqa: F821
    """Adds.

    Args:
        a: of shape (n,).

    Returns:
        A number.

    Raises:
        LagrangianError: always.
    """
    raise LagrangianError("as it is")


def test_the_check_sees_what_is_missing():
    def found(code):
        return {*faults(Documented("", code, [code.__doc__], parameters_of(code)))}

    assert found(whole) == set()
    assert found(wanting) == {
        "b is not described",
        "a has no shape",
        "c is no parameter",
        "LagrangianError is raised",
        "NoSuchError is no error",
        "nothing of what it returns",
    }
