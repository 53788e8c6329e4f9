"""The clock of what says nothing on its way."""

import io
import threading
import time

import numpy as np
import pytest

import lagrangian as lg
from lagrangian import elapsed as module
from lagrangian.elapsed import elapsed

x = lg.coordinates("x")
SPRING = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
WEIGHTS = {"w": np.ones(3)}
DATA = np.linspace(-1, 1, 24).reshape(8, 3)


def loss(parameters, batch):
    return ((batch @ parameters["w"] - 1) ** 2).mean()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "_DELAY", 0.05)
    monkeypatch.setattr(module, "_TICK", 0.01)


def wait_for(screen, word):
    for _ in range(500):
        if word in screen.getvalue():
            return True
        time.sleep(0.01)
    return False


def test_a_terminal_shows_what_takes_its_time(quick, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with elapsed("integrating"):
        assert wait_for(screen, "integrating 00:0")
    assert not [clock for clock in threading.enumerate() if "show" in clock.name]


def test_what_is_soon_done_shows_nothing(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with elapsed("integrating"):
        pass
    assert screen.getvalue() == ""


def test_without_a_terminal_there_is_no_thread(quick, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    before = threading.active_count()
    with elapsed("integrating"):
        assert threading.active_count() == before


def test_an_error_goes_through_and_ends_the_clock(quick, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), elapsed("integrating"):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_clock_inside_of_another_is_silent(quick, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with elapsed("verifying"):
        with elapsed("integrating"):
            assert wait_for(screen, "verifying 00:0")
        assert "integrating" not in screen.getvalue()
    with elapsed("integrating"):
        assert wait_for(screen, "integrating 00:0")


#: What may take more than two seconds, and the names of its parts.
LONG = {
    "find_symmetries": lambda: lg.find_symmetries(SPRING),
    "discover": lambda: lg.discover(WEIGHTS, loss, DATA),
    "count_laws": lambda: lg.count_laws(WEIGHTS, lambda p, x: x @ p["w"], DATA),
    "network_flow": lambda: lg.network_flow(
        WEIGHTS, loss, DATA, lg.HeavyBall(0.1)
    ).integrate(t=(0, 0.1)),
    "gradient_noise": lambda: lg.gradient_noise(WEIGHTS, loss, DATA, lg.Scale("w")),
    "tangent_kernel": lambda: lg.tangent_kernel(WEIGHTS, lambda p, x: x @ p["w"], DATA),
    "symplectic": lambda: lg.lower(SPRING).integrate(
        [1.0], [0.0], (0, 1), solver=lg.Symplectic(0.1)
    ),
    "section": lambda: lg.lower(SPRING).section([1.0], [0.0], x, t=(0, 9)),
    "lyapunov_exponents": lambda: lg.lower(SPRING).lyapunov_exponents(
        [1.0], [0.0], t=(0, 2)
    ),
    "verify": lambda: lg.verify("curie", quick=True),
}


@pytest.mark.parametrize("name", LONG)
def test_what_may_take_long_has_a_clock(name, quick, monkeypatch):
    """The bars of `train`, `ensemble` and the Taylor solver are tqdm's own."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(module, "_DELAY", 0.0)
    seen = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda t: (seen.append(t.name), start(t))[1]
    )
    LONG[name]()
    assert any("(show)" in thread for thread in seen)
