"""The step table in, the text of `steps.py` out: one typed, documented method per schedule step.

`python -m warploom.kernels.generate` writes the file; a test compares it with the table, so the two never drift.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, fields
from pathlib import Path

from ..passes.schedule.script import MANY, STEPS
from ..passes.schedule.step import Step

HEAD = '''"""The schedule steps as methods: arguments come in, a scheduled kernel goes out. Made from the step table by `generate.py`: do not edit."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..passes.schedule import script
from ..passes.schedule.step import Step

K = TypeVar("K")


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


class Steps(Generic[K]):
    """Each method is one step of the schedule language and gives the kernel that it makes. Raises IllegalStep, ParseError."""

    def _apply(self, step: Step) -> K:
        raise NotImplementedError
'''


def steps_text() -> str:
    """The module `steps` as text."""
    return HEAD + "".join(_method(name, cls) for name, cls in STEPS.items())


def _method(name: str, cls: type[Step]) -> str:
    declared = fields(cls)
    alone = len(declared) == 1 and declared[0].type == MANY
    params = f"*{declared[0].name}: str" if alone else ", ".join(_param(f) for f in declared)
    passed = ", ".join((f.name if alone else f"_names({f.name})") if f.type == MANY else f.name for f in declared)
    doc = inspect.cleandoc(cls.__doc__ or "").splitlines()
    lines = [f'        """{doc[0]}', *(f"        {line}".rstrip() for line in doc[1:])]
    lines += ['        """'] if len(doc) > 1 else []
    if len(doc) == 1:
        lines[0] += '"""'
    return "\n".join(["", f"    def {name}(self, {params}) -> K:", *lines, f'        return self._apply(script.{cls.__name__}({passed}))', ""])


def _param(f: Field) -> str:
    kind = "str | tuple[str, ...]" if f.type == MANY else f.type
    return f"{f.name}: {kind}" + (f" = {f.default!r}".replace("'", '"') if f.default is not MISSING else "")


if __name__ == "__main__":
    Path(__file__).with_name("steps.py").write_text(steps_text())
