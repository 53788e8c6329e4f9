"""Every error that the library words itself says what to write instead."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import lagrangian as lg
from lagrangian import errors
from lagrangian.systems.expression import InvalidExpression
from lagrangian.systems.spec import InvalidSpec

PACKAGE = Path(lg.__file__).parent
#: Those that a user sees; what a layer raises for the next one is worded there.
PUBLIC = {
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
} | {"InvalidSpec", "InvalidExpression", "TypeError", "ValueError", "ArgumentTypeError"}
#: What follows the start of a sentence, a semicolon, a comma or "or".
VERBS = (
    "add ask begin build call change check choose code convert correct count "
    "delete derive differentiate end expected fill find follow give hand have "
    "integrate install keep leave let look lower make mend multiply move name "
    "normalise open pass put read record reduce remove rename return run save say "
    "scale set shorten solve start state take train transform try unset use wait "
    "work wrap write "
).split()
ADVICE = re.compile(rf"(?:^|[.;:,)}}] |\bor |\band )(?:{'|'.join(VERBS)})\b", re.I)


def test_the_classes_are_the_users():
    for error in (InvalidSpec, InvalidExpression):
        assert error.__name__ in PUBLIC and issubclass(error, lg.LagrangianError)


def message(node):
    """The text of an expression, with `{}` for what is not known until it is raised."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(message, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return message(node.left) + message(node.right)
    if isinstance(node, ast.IfExp):
        return message(node.body)
    value = getattr(node, "value", node)
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "nearest":
        return "Write one of the nearest."
    # What a caller advises, and what a solver says of its stop.
    if {getattr(value, "id", ""), getattr(value, "attr", "")} & {"advice", "stopped"}:
        return "Write as advised."
    return "{}"


def words(source):
    """Line and text of every message of a public error that is worded there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            text = message(node.args[0])
            if name in PUBLIC and re.search("[a-z]{3}", text):
                yield node.lineno, text


def files():
    return sorted(PACKAGE.rglob("*.py"))


ROOMS = sorted({file.relative_to(PACKAGE).parts[0] for file in files()})


@pytest.mark.parametrize("room", ROOMS)
def test_an_error_says_what_to_write(room):
    silent = [
        f"{file.relative_to(PACKAGE)}:{line}: {text}"
        for file in files()
        if file.relative_to(PACKAGE).parts[0] == room
        for line, text in words(file.read_text())
        if not ADVICE.search(text)
    ]
    assert not silent, "\n".join(silent)


def test_they_are_seen():
    found = [text for file in files() for _, text in words(file.read_text())]
    assert len(found) > 300


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise LagrangianError(f'`{x}` is {x!r}; write a positive time.')", True),
        ("raise LagrangianError(f'no {x}. {nearest(x, known)}')", True),
        ("raise LagrangianError('a ' f'{x}. Leave it ' + 'out.')", True),
        ("raise LagrangianError(f'`{x}` is of no use: {x}.')", False),
        ("raise CannotLower('the name of this passes nothing on')", False),
    ],
)
def test_what_counts_as_advice(source, says):
    ((_, text),) = words(source)
    assert bool(ADVICE.search(text)) == says
