"""Systems from TOML files, and what is said about files that are wrong."""

import inspect
import re
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.systems import spec
from lagrangian.systems.expression import FUNCTIONS
from lagrangian.systems.mechanics import SYSTEMS
from lagrangian.systems.spec import MAX_BYTES, InvalidSpec, load_spec

OSCILLATOR = """\
# A mass on a spring, with friction.
name = "oscillator"
coordinates = ["x"]
T = "m*x.dot^2/2"
V = "k*x^2/2"
damping = "mu/m*t"
t = 5.0
tol = 1e-11

[parameters]
m = 2.0
k = 8
mu = "1"

[positions]
x = 1.0

[velocities]
x = 0.0
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "case.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_spec_runs_as_its_closed_form_says(write):
    system = load_spec(write(OSCILLATOR))
    assert (system.name, system.t, system.tol) == ("oscillator", 5.0, 1e-11)
    path = lg.lower(system.lagrangian, system.parameters).integrate(
        system.positions, system.velocities, (0.0, system.t), tol=system.tol
    )
    rate, omega = 0.25, np.sqrt(4 - 0.25**2)
    (x,) = system.lagrangian.coordinates
    expected = np.exp(-rate * path.t) * (
        np.cos(omega * path.t) + rate / omega * np.sin(omega * path.t)
    )
    np.testing.assert_allclose(path[x], expected, atol=1e-10)


def test_every_key_reaches_the_system(write):
    system = load_spec(
        write(
            """
            description = "everything"
            coordinates = "x y"
            T = '''
              m*(x.dot^2
                 + y.dot^2)/2'''
            V = 0
            dissipation = "c*y.dot^2/2"
            constraints = ["x^2 + y^2 - 1"]
            [forces]
            x = "cos(t)"
            [parameters]
            m = 1
            c = "1/3"
            [positions]
            x = "cos(pi/3)"
            y = "sqrt(3)/2"
            [velocities]
            x = 0
            y = 0
            """
        )
    )
    x, y = lg.coordinates("x y")
    m, c = sp.symbols("m c", real=True)
    expected = lg.Lagrangian(
        m * (x.dot**2 + y.dot**2) / 2,
        0,
        dissipation=c * y.dot**2 / 2,
        forces={x: sp.cos(lg.time)},
        constraints=[x**2 + y**2 - 1],
    )
    assert system.lagrangian.equations == expected.equations
    assert system.parameters == {m: 1.0, c: 1 / 3}
    assert system.positions == {x: 0.5, y: pytest.approx(np.sqrt(3) / 2, abs=1e-16)}
    assert (system.name, system.description, system.t) == ("case", "everything", 10.0)


def changed(old, new):
    assert OSCILLATOR.count(old) == 1
    return OSCILLATOR.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message", "shown"),
    [
        (
            changed("m*x.dot", "m*xx.dot"),
            "line 4, column 8, `T`: unknown name `xx.dot`. Nearest: `x.dot`",
            'T = "m*xx.dot^2/2"',
        ),
        (
            changed("k*x^2", "kk*x^2"),
            "line 5, column 6, `V`: unknown name `kk`. Nearest: `k`. Or declare it",
            'V = "kk*x^2/2"',
        ),
        (
            changed("mu/m*t", "mu/(m*t"),
            "column 19, `damping`: expected `)` and got the end",
            'damping = "mu/(m*t"',
        ),
        (
            changed('mu = "1"', 'mu = "1/m"'),
            "line 13, column 9, `parameters.mu`: unknown name `m`.",
            'mu = "1/m"',
        ),
        (changed("mu =", "x ="), "`parameters.x`: is a coordinate, too", 'x = "1"'),
        (changed("mu =", "t ="), "`t` already has a meaning", 't = "1"'),
        (changed("k = 8", "k = nan"), "must be a finite real number", "k = nan"),
        (changed("k = 8", "k = true"), "must be a finite real number", "k = true"),
        (changed("k = 8", "k = [8]"), "must be a finite real number", "k = [8]"),
        (changed("= 8", "= 'asin(2)'"), "not real", "k = 'asin(2)'"),
        (changed("name = ", "nmae = "), "unknown key. Nearest: `name`", "nmae ="),
        (changed('"oscillator"', '"../x"'), "use letters, digits", 'name = "../x"'),
        (changed("t = 5.0", "t = -5.0"), "must be positive, and is -5", "t = -5.0"),
        (changed('["x"]', "[]"), 'write `coordinates = ["x", "y"]`', "coordinates"),
        (changed('["x"]', '["x", "x"]'), "`x` is listed twice", "coordinates"),
        (changed('["x"]', '["x y"]'), "'x y' cannot be a name", "coordinates"),
        (changed('["x"]', '["sin"]'), "`sin` already has a meaning", "coordinates"),
        (changed("m*x.dot^2/2", "m*x^2"), "does not contain `x.dot`", 'T = "m*x^2"'),
        (changed('"k*x^2/2"', "true"), "must be an expression in quotes", "V = true"),
        (
            changed("t = 5.0", 'constraints = ["x - t", "x + w"]'),
            "column 30, `constraints`: unknown name `w`",
            'constraints = ["x - t", "x + w"]',
        ),
        (changed("t = 5.0", "constraints = 'x'"), "write a list", "constraints = 'x'"),
        (changed("t = 5.0", "forces = 'x'"), "Write `[forces]`", "forces = 'x'"),
        (
            changed("[positions]\nx = 1.0", "[positions]\nx = 1.0\ny = 2.0"),
            "`positions.y`: `y` is no coordinate",
            "y = 2.0",
        ),
        (
            changed("T = ", "T = = "),
            "line 4, column 5: not valid TOML: Invalid value. Write expressions in",
            "T = =",
        ),
        (
            changed('"k*x^2/2"', "k*x^2/2"),
            "line 5, column 5: not valid TOML",
            "V = k*x^2/2",
        ),
    ],
)
def test_errors_show_the_place(write, text, message, shown):
    path = write(text)
    with pytest.raises(InvalidSpec) as raised:
        load_spec(path)
    sentence, line, caret = str(raised.value).split("\n")
    assert sentence.startswith(str(path)) and message in sentence
    assert shown in line
    column = int(sentence.split("column ")[1].split(",")[0].split(":")[0])
    row = int(sentence.split("line ")[1].split(",")[0])
    assert text.split("\n")[row - 1] == line[2:]
    assert caret == " " * (column + 1) + "^"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`coordinates` is missing. Write `coordinates ="),
        (changed('V = "k*x^2/2"', ""), "`V` is missing"),
        (changed("[velocities]\nx = 0.0", ""), "`velocities` is missing. Write `.vel"),
        (changed("x = 0.0", ""), r"`\[velocities\]` has no value for `x`"),
        (changed("k = 8", ""), "unknown name `k`"),
        (changed("t = 5.0", "constraints = ['m']"), "contains no coordinate"),
        (b"\xff\xfe", "not UTF-8 text: byte 0 is 0xff"),
        ("#" * (MAX_BYTES + 1), "bytes; at most"),
        ("a = " + "[" * 50_000, "nests its values too deeply"),
        ("k = " + "1" * 5000, "not valid TOML"),
        ('a = "', "not valid TOML"),
        # Escapes are not followed: the place is shown in the text itself.
        (changed("k*x^2", r"k*\u0078*z"), r"`V`: unknown name `z`.*\n  k\*x\*z/2\n"),
    ],
)
def test_what_has_no_place_is_named_all_the_same(write, text, message):
    path = write(text)
    with pytest.raises(InvalidSpec, match=message) as raised:
        load_spec(path)
    assert "case.toml" in str(raised.value)


def test_a_file_that_takes_too_long_is_refused(write, monkeypatch):
    path = write(OSCILLATOR)
    load_spec(path)
    monkeypatch.setattr(spec, "MAX_WORK", 1000)
    with pytest.raises(InvalidSpec, match="takes too long to read: more than 1,000"):
        load_spec(path)


#: Whose derivatives have thousands of symbols.
PRODUCT = "x.dot^2/2*" + "*".join(f"(x+{i})" for i in range(2, 90))


def test_a_file_that_takes_too_long_to_derive_is_refused(write, monkeypatch):
    path = write(changed("m*x.dot^2/2", PRODUCT))
    monkeypatch.setattr(spec, "MAX_DERIVING", 100_000)
    with pytest.raises(InvalidSpec, match="takes too long to derive: more than 100,0"):
        load_spec(path)
    # The control: without the bound it goes on for as long as that takes.
    monkeypatch.setattr(spec, "limited_calls", lambda most: nullcontext())
    assert len(load_spec(path).lagrangian.equations[0].lhs.args) > 80


def test_what_is_loaded_is_derived(write):
    system = load_spec(write(OSCILLATOR))
    assert "equations" in vars(system.lagrangian)
    assert "equations" in vars(system.with_values({"k": 3.0}).lagrangian)


def test_the_stack_of_whoever_calls_is_not_burst(write):
    nested = "(" * 49 + "x" + "+1)^2" * 49
    path = write(changed("k*x^2/2", nested))
    assert load_spec(path).lagrangian.equations

    def deep(levels):
        return deep(levels - 1) if levels else load_spec(path)

    with pytest.raises(InvalidSpec, match="nested too deeply"):
        deep(sys.getrecursionlimit() - len(inspect.stack()) - 120)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidSpec, match="none.toml` cannot be read: No such file"):
        load_spec(tmp_path / "none.toml")


def test_an_expression_of_several_lines_has_its_own_row(write):
    text = changed('"k*x^2/2"', '"""\nk*x^2/2\n  + zz*x"""')
    with pytest.raises(InvalidSpec, match="line 7, column 5, `V`: unknown name `zz`"):
        load_spec(write(text))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(0, len(OSCILLATOR)),
    st.integers(0, 12),
    st.text(max_size=8) | st.sampled_from(["[", "x", '"', "=", "\n", ".dot", "'''"]),
)
@example(0, 0, "\ufeff")
def test_any_damage_is_a_system_or_our_own_error(write, start, length, junk):
    text = OSCILLATOR[:start] + junk + OSCILLATOR[start + length :]
    path = write(text.encode("utf-8", "surrogatepass"))
    try:
        system = load_spec(path)
    except InvalidSpec as error:
        assert "case.toml" in str(error)
    else:
        assert len(system.positions) == len(tomllib.loads(text)["coordinates"])


DOCS = (Path(__file__).parents[2] / "docs" / "systems.md").read_text()


def test_the_example_of_the_docs_is_a_damped_pendulum(write):
    (text,) = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    system = load_spec(write(text))
    path = lg.lower(system.lagrangian, system.parameters).integrate(
        system.positions, system.velocities, (0.0, 2.0), tol=1e-11
    )
    theta = lg.coordinates("theta")
    angle = lg.Lagrangian(
        theta.dot**2 / 2, -9.81 * sp.cos(theta), dissipation=theta.dot**2 / 40
    )
    swing = lg.lower(angle).integrate({theta: np.pi / 3}, {theta: 0}, (0.0, 2.0))
    expected = np.stack([np.sin(swing[theta]), -np.cos(swing[theta])], axis=-1)
    np.testing.assert_allclose(path.q, expected, atol=1e-7)


def test_the_docs_list_every_system_and_function():
    assert re.findall(r"\n\| `([\w-]+)` \|", DOCS) == list(SYSTEMS)
    grammar = DOCS.split("## Your own")[1]
    for name in FUNCTIONS:
        assert name == "Abs" or re.search(rf"\b{name}[,.]", grammar)


def test_the_example_of_the_documentation_is_a_file():
    docs = Path(__file__).parents[2] / "docs"
    written = (docs / "pendulum.toml").read_text()
    assert f"```toml\n{written}```" in (docs / "systems.md").read_text()
    assert load_spec(docs / "pendulum.toml").name == "pendulum"
