"""The examples of the README run as they stand there, one after the other."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["path"].energy_drift < 1e-11
    assert "explicit time: 0" in printed and "holds" in printed
    assert (tmp_path / "pendulum.png").stat().st_size > 1000
