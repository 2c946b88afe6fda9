"""Errors that a user can cause: a stable code, what is wrong, where, what would be accepted.

Comes in: a message and, where there is one, a program text with the place to underline. Goes out: `WarploomError`,
whose `str` is one line and whose `pretty()` adds the program with the place underlined.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean `x`? ` where one of `known` is nearly `name`, else nothing."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean `{near[0]}`? " if near else ""


@dataclass(frozen=True)
class Place:
    """A place in a text: 0-based `line`, half-open columns `start:stop`."""

    text: str
    line: int
    start: int = 0
    stop: int = -1

    def underlined(self, around: int = 2) -> str:
        """The lines around the place, with `^^^` under it."""
        lines = self.text.splitlines()
        row = lines[self.line] if 0 <= self.line < len(lines) else ""
        start = max(self.start, len(row) - len(row.lstrip()) if self.stop < 0 else self.start)
        stop = self.stop if self.stop >= 0 else len(row)
        shown = []
        for number in range(max(0, self.line - around), min(len(lines), self.line + around + 1)):
            shown.append(f"{number + 1:4d} | {lines[number]}")
            if number == self.line:
                shown.append("     | " + " " * start + "^" * max(1, stop - start))
        return "\n".join(shown)


class WarploomError(Exception):
    """A failure with a stable code. `exit_code` follows CONTRACT: 1 the answer is no, 2 usage, 3 environment."""

    code = "WL-E000"
    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", place: Place | None = None, code: str | None = None, exit_code: int | None = None):
        self.message, self.hint, self.place = message, hint, place
        self.code = code or type(self).code
        self.exit_code = type(self).exit_code if exit_code is None else exit_code
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")

    def pretty(self) -> str:
        """The one line, and below it the program with the place underlined."""
        return str(self) + (f"\n{self.place.underlined()}" if self.place else "")

    def __reduce__(self):
        return _rebuild, (type(self), self.message, self.hint, self.place, self.code, self.exit_code)


def _rebuild(cls: type[WarploomError], message: str, hint: str, place: Place | None, code: str, exit_code: int) -> WarploomError:
    return cls(message, hint=hint, place=place, code=code, exit_code=exit_code)


class ParseError(WarploomError):
    """The text is not a program of this language. Correct the underlined place."""

    code = "WL-E010"


class TypeMismatch(WarploomError):
    """An expression mixes dtypes or a node's declared type is not what its operator gives. Add a cast or correct the type."""

    code = "WL-E011"


class IllegalProgram(WarploomError):
    """A verifier rule is broken; the message names it. Correct the program at the underlined place."""

    code = "WL-E012"


class IllegalStep(WarploomError):
    """A schedule step does not apply to the program it met. The program is shown with the place underlined."""

    code = "WL-E013"


class UnsupportedModel(WarploomError):
    """Neither torch.export nor the dynamo door takes the model. The message names the line."""

    code = "WL-E020"


class InputMismatch(WarploomError):
    """A call's inputs differ from the compiled ones in structure, dtype or shape. Pass what the message names."""

    code = "WL-E021"


class WrongNumbers(WarploomError):
    """The compiled model does not agree with eager; the message names the operator. Report it with `--dump-ir`."""

    code = "WL-E022"
    exit_code = 1


class Unreadable(WarploomError):
    """A file, folder or record cannot be read or has the wrong form."""

    code = "WL-E030"


class MissingTool(WarploomError):
    """The environment lacks a compiler, a sandbox or a package. The message says what to install."""

    code = "WL-E040"
    exit_code = 3


class BuildFailed(WarploomError):
    """The compiler refused generated code; the message ends with its first error line."""

    code = "WL-E041"
    exit_code = 1
