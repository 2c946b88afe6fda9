"""A pack of chosen kernels: an evolve folder comes in, decisions and scripts go out that `compile(kernels=...)` plans with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostic import Unreadable

FILE = "kernels.json"


@dataclass(frozen=True)
class Chosen:
    """`decisions`: of the passes over the graph; `scripts`: kernel key -> schedule script; `isa` of the machine that chose."""

    problem: str
    isa: str
    decisions: Mapping[str, int]
    scripts: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Keep the pack in `folder`."""
        text = {"problem": self.problem, "isa": self.isa, "decisions": dict(self.decisions), "scripts": dict(self.scripts)}
        (folder / FILE).write_text(json.dumps(text, indent=1))


def read_chosen(folder: str | Path) -> Chosen:
    """The pack in an evolve folder. Raises Unreadable."""
    path = Path(folder) / FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        decisions = {str(k): int(v) for k, v in raw["decisions"].items()}
        scripts = {str(k): str(v) for k, v in raw["scripts"].items()}
        return Chosen(str(raw["problem"]), str(raw["isa"]), decisions, scripts)
    except OSError as error:
        raise Unreadable(f"kernels={str(folder)!r}: {error.strerror}", hint="give the folder of an evolve run") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"{path} is no pack of kernels: {type(error).__name__}: {error}") from None
