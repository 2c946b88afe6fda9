"""Local includes, expanded. A source and the folders to look in come in; one text with `#line` marks goes out.

Only files that are found in those folders are expanded (they may hold kernels, which must be rewritten with the rest);
all others stay for the compiler to find.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...ir.diagnostic import Unreadable

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)[^\n]*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*$", re.MULTILINE)


def expand_includes(source: str, filename: str, folders: Sequence[Path]) -> str:
    """`source` with the includes that lie in `folders` put in place; a file that is included looks beside itself first."""
    return _expand(source, filename, None, tuple(folders), set(), ())


def _expand(
    source: str, filename: str, beside: Path | None, folders: tuple[Path, ...], seen: set[Path], above: tuple[Path, ...]
) -> str:
    def replace(match: re.Match) -> str:
        quoted, angled = match.group(1), match.group(2)
        path = _find(quoted or angled, ((beside,) if quoted and beside else ()) + folders)
        if path is None:
            return match.group()
        if path in seen or path in above:
            return ""
        text = _read(path)
        if _ONCE.search(text):
            seen.add(path)
            text = _ONCE.sub("", text)
        line = source.count("\n", 0, match.start()) + 2
        inner = _expand(text, str(path), path.parent, folders, seen, (*above, path))
        return f'#line 1 "{path}"\n{inner}\n#line {line} "{filename}"'

    return _INCLUDE.sub(replace, source)


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    candidates = (folder / name for folder in folders)
    return next((path.resolve() for path in candidates if path.is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
