"""C text comes in, what its functions are called and take, and which arguments they write, goes out.

A reader of declarations only: it finds function definitions by their shape in the text, with comments and strings blanked. Its time grows
with the text's length, whatever stands in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMENT = re.compile(r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"', re.S)
_NOT_FUNCTIONS = {"if", "for", "while", "switch", "return", "sizeof", "do", "else"}
_DEFINITION = re.compile(
    r"(?:^|[;}\n])[ \t\r]*((?:[A-Za-z_][\w:<>]*[\s*&]+){1,12})([A-Za-z_]\w*)\s*\(((?:[^(){};]|\([^(){};]*\))*)\)\s*(?:noexcept\s*)?\{"
)
_MOST_INDEX = 4000  # characters between the brackets of an index
DTYPES = {
    "float": "float32", "double": "float64", "int": "int32", "int32_t": "int32", "signed int": "int32", "int64_t": "int64",
    "long long": "int64", "long": "int64", "int8_t": "int8", "signed char": "int8", "uint8_t": "uint8", "unsigned char": "uint8",
    "char": "int8", "bool": "bool", "_Bool": "bool", "int16_t": "int16", "short": "int16",
}  # fmt: skip


@dataclass(frozen=True)
class CParameter:
    """`dtype` is a NumPy name, "" where the type is unknown."""

    name: str
    dtype: str
    pointer: bool


@dataclass(frozen=True)
class CFunction:
    """`start` and `end` bound the body's braces in the text; `static` functions cannot be called from outside."""

    name: str
    parameters: tuple[CParameter, ...]
    start: int
    end: int
    static: bool
    result: str = "void"

    @property
    def pointers(self) -> int:
        """How many parameters are pointers."""
        return sum(p.pointer for p in self.parameters)


def blanked(text: str) -> str:
    """The text with comments and strings replaced by spaces, so that positions stay."""
    return _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def functions(text: str) -> list[CFunction]:
    """The function definitions of a C or C++ text, in order."""
    bare, found, at = blanked(text), [], 0
    while match := _DEFINITION.search(bare, at):
        start = match.end() - 1
        words = match[1].replace("*", " ").split()
        if match[2] in _NOT_FUNCTIONS or not words or words[0] in {"else", "return", "new", "case"}:
            at = match.end()
            continue
        end = _closing(bare, start)
        static = "static" in words or ("inline" in words and "extern" not in words)
        found.append(CFunction(match[2], _parameters(match[3]), start, end, static, " ".join(words)))
        at = end
    return found


def entry_of(text: str) -> CFunction | None:
    """The function a text is about: the last one that others can call and that takes most pointers."""
    callable_ = [f for f in functions(text) if not f.static and f.name != "main"]
    return max(reversed(callable_), key=lambda f: f.pointers, default=None)


def stored(text: str, function: CFunction) -> set[str]:
    """Names of the parameters that the function's body stores to by index."""
    body = blanked(text)[function.start : function.end]
    return {p.name for p in function.parameters if p.pointer and _stores(body, p.name)}


def _stores(body: str, name: str) -> bool:
    if re.search(rf"\*\s*{name}\s*[-+*/]?=(?!=)", body):
        return True
    for match in re.finditer(rf"(?<![\w.]){re.escape(name)}\s*\[", body):
        end = _closing(body[: match.end() + _MOST_INDEX], match.end() - 1, "[", "]")
        if re.match(r"\s*([-+*/%&|^]|<<|>>)?=(?!=)", body[end:]):
            return True
    return False


def _closing(text: str, at: int, left: str = "{", right: str = "}") -> int:
    """The position after the bracket that closes the one at `at`."""
    depth = 0
    for match in re.finditer(f"[{re.escape(left + right)}]", text[at:]):
        depth += 1 if match[0] == left else -1
        if depth == 0:
            return at + match.end()
    return len(text)


def _parameters(text: str) -> tuple[CParameter, ...]:
    parts = [p.strip() for p in text.split(",")]
    return tuple(_parameter(p) for p in parts if p and p != "void")


def _parameter(text: str) -> CParameter:
    pointer = "*" in text or "[" in text
    words = re.sub(r"\b(?:const|restrict|__restrict__|__restrict|volatile|struct)\b|\[[^]]*\]|[*&()]", " ", text).split()
    name = words[-1] if len(words) > 1 else ""
    return CParameter(name, DTYPES.get(" ".join(words[:-1]), ""), pointer)
