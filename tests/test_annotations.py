"""The annotations of the package are true: checked at run time along its main walks."""

import subprocess
import sys
from pathlib import Path

WALK = Path(__file__).with_name("annotated.py")


def run(*code):
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, timeout=600
    )


def test_what_is_annotated_is_what_is_passed():
    done = run(str(WALK))
    assert "every annotation holds" in done.stdout, done.stderr[-3000:]


def test_the_check_sees_what_is_annotated_otherwise():
    wrong = WALK.read_text().replace("lg.Variational(0.1)", 'lg.Variational("0.1")')
    done = run("-c", wrong)
    assert done.returncode and "step: float" in done.stderr
