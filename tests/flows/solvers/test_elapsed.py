"""The clock of what runs as one compiled program."""

import io
import threading
import time

import pytest

from lagrangian.flows.solvers import elapsed as module
from lagrangian.flows.solvers.elapsed import elapsed


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
