"""A stored result of `tests.transpile.rates` says by which commands it was made, with their options."""

import json
import sys
from pathlib import Path

from . import rates


def test_the_command_is_stored_with_its_options(monkeypatch, tmp_path: Path):
    (tmp_path / "level1").mkdir()
    for name in ("1_one", "2_two"):
        (tmp_path / "level1" / f"{name}.cu").write_text("")
    side = {"ok": True}
    monkeypatch.setattr(rates, "judged", lambda path, *_: {"file": f"level1/{path.stem}", "kernels": 1, "emulator": side, "transpiled": side})
    out = tmp_path / "out.json"

    def run(*options: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["rates.py", str(tmp_path), "--out", str(out), *options])
        rates.main()
        return json.loads(out.read_text())["command"]

    first = f"python -m tests.transpile.rates {tmp_path.name} --out out.json --small --seconds 40 --only 1_one"
    assert run("--small", "--seconds", "40", "--only", "1_one") == [first]
    second = f"python -m tests.transpile.rates {tmp_path.name} --out out.json --levels level1"
    assert run("--levels", "level1") == [first, second]
