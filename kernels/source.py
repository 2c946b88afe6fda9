"""What the user wrote: a decorated function or kernel text comes in, a verified Program goes out, or an error that underlines the user's line.

The function is read with `inspect` and `ast` and never executed. A name that only shapes use is a dim of its own: `x: f32[n]` needs no
`n: dim` before it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..ir.diagnostic import IllegalProgram, ParseError, Place, TypeMismatch, WarploomError
from ..ir.expr import names
from ..ir.kernel import Program, Stmt
from ..ir.text import Parser, program_lines
from ..ir.types import Dim
from ..ir.verify import verify


@dataclass(frozen=True)
class Source:
    """The text of a kernel and where it stands: `line` is the number of its first line in `file` (1-based)."""

    text: str
    file: str = "<kernel text>"
    line: int = 1

    def where(self, place: Place) -> str:
        """`file:line` and the lines around the place, underlined."""
        return f"{self.file}:{self.line + place.line}\n{place.underlined()}"


def read(written: Callable[..., object] | str) -> tuple[Program, Source]:
    """The legal Program that a function or a text says. Raises ParseError, TypeMismatch, IllegalProgram."""
    source = _source(written)
    reader = _Reader(source.text)
    try:
        program = reader.program()
        verify(program)
    except (IllegalProgram, TypeMismatch) as e:
        raise _told(_placed(e, reader, program), source) from None
    except ParseError as e:
        raise _told(e, source) from None
    return program, source


def _source(written: Callable[..., object] | str) -> Source:
    if isinstance(written, str):
        return Source(textwrap.dedent(written))
    try:
        lines, first = inspect.getsourcelines(written)
    except (OSError, TypeError) as e:
        raise ParseError(
            f"the source of {getattr(written, '__name__', written)!r} cannot be read: {e}",
            hint="pass the text itself: warploom.kernel('def scale(...): ...')",
        ) from None
    return Source(textwrap.dedent("".join(lines)), inspect.getsourcefile(written) or "<unknown>", first)


class _Reader(Parser):
    """The kernel text's parser, which remembers the line of each statement and takes docstrings and undeclared dims."""

    def __init__(self, text: str):
        super().__init__(text)
        self.places: list[tuple[Stmt, ast.stmt]] = []

    def function(self) -> ast.FunctionDef:
        f = super().function()
        body = [s for s in f.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        return ast.copy_location(ast.FunctionDef(f.name, f.args, body, []), f)

    def statement(self, n: ast.stmt) -> Stmt:
        s = super().statement(n)
        self.places.append((s, n))
        return s

    def program(self) -> Program:
        p = super().program()
        known = {d.name for d in p.dims}
        used = [n for b in p.params for e in (*b.shape, *(b.within or ())) for n in sorted(names(e))]
        return replace(p, dims=(*p.dims, *(Dim(n) for n in dict.fromkeys(used) if n not in known)))


def _placed(e: WarploomError, reader: _Reader, program: Program) -> WarploomError:
    """The error at the user's own line rather than at the printed program's."""
    if e.place is None:
        return e
    where = program_lines(program)[e.place.line][1]
    node = next((n for s, n in reader.places if s is where), None)
    if node is None:
        return e
    one_line = node.end_lineno if not hasattr(node, "body") else node.lineno
    stop = node.end_col_offset if one_line == node.lineno and not hasattr(node, "body") else None
    place = Place(reader.text, node.lineno - 1, node.col_offset, -1 if stop is None else stop)
    return type(e)(e.message, hint=e.hint, place=place)


def _told(e: WarploomError, source: Source) -> WarploomError:
    if e.place is not None:
        e.add_note(source.where(e.place))
    return e


@contextmanager
def shown() -> Iterator[None]:
    """An error about a program carries the program with the place underlined, which a traceback then shows."""
    try:
        yield
    except WarploomError as e:
        if e.place is not None:
            e.add_note(e.place.underlined(around=3))
        raise


