"""A C++ tokenizer for rewriting. CUDA text comes in, a list of tokens goes out whose texts join to the input.

`Code` looks at the tokens that mean something (no blanks, no comments) and lets each be replaced in place, so that
line numbers survive any rewriting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...ir.diagnostic import Place, WarploomError

_TOKEN = re.compile(
    r"""
    (?P<comment>//(?:\\\r?\n|[^\n])*|/\*.*?\*/)
  | (?P<string>(?:u8|u|U|L)?R"(?P<delim>[^\s()\\]{0,16})\(.*?\)(?P=delim)"|(?:u8|u|U|L)?"(?:\\.|[^"\\\n])*")
  | (?P<char>(?:u8|u|U|L)?'(?:\\.|[^'\\\n])+')
  | (?P<number>\.?\d(?:[eEpP][+-]|'(?=[\w])|[\w.])*)
  | (?P<name>[A-Za-z_$][\w$]*)
  | (?P<blank>(?:[^\S\n]|\\\r?\n)+)
  | (?P<newline>\n)
  | (?P<mark><<<|::|->|\+\+|--|&&|\|\||[-+*/%&|^=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN = {"(": ")", "[": "]", "{": "}"}


class UnreadableCuda(WarploomError):
    """The CUDA text cannot be split into kernels and launches: brackets do not match. Correct the named line."""

    code = "WL-E054"


@dataclass
class Token:
    kind: str
    text: str
    line: int


def tokenize(text: str) -> list[Token]:
    """All tokens of `text`; `line` is 0-based."""
    tokens, line = [], 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        tokens.append(Token("string" if kind == "delim" else kind, match.group(), line))
        line += match.group().count("\n")
    return tokens


@dataclass
class Code:
    """Tokens of one source and the positions of the meaningful ones; `at[i]` is the i-th meaningful token."""

    source: str
    tokens: list[Token] = field(init=False)
    at: list[Token] = field(init=False)

    def __post_init__(self):
        self.tokens = tokenize(self.source)
        self.at = [t for t in self.tokens if t.kind not in ("comment", "blank", "newline")]

    def text(self, i: int) -> str:
        return self.at[i].text if 0 <= i < len(self.at) else ""

    def is_name(self, i: int) -> bool:
        return 0 <= i < len(self.at) and self.at[i].kind == "name"

    def find_close(self, start: int) -> int:
        """The index of the bracket that closes the one at `start`; alternatives of `#if` are each read from the same depth."""
        stack, saved = [], []
        i = start
        while i < len(self.at):
            word = self.text(i)
            if word == "#" and self.text(i + 1) in _CONDITIONALS:
                self._alternative(self.text(i + 1), stack, saved)
                i += 2
                continue
            if word in _OPEN:
                stack.append(_OPEN[word])
            elif stack and word == stack[-1]:
                stack.pop()
                if not stack:
                    return i
            i += 1
        raise UnreadableCuda(f"line {self.at[start].line + 1}: `{self.text(start)}` is never closed", place=self.place(start))

    @staticmethod
    def _alternative(word: str, stack: list[str], saved: list[list[str]]) -> None:
        if word in ("if", "ifdef", "ifndef"):
            saved.append(list(stack))
        elif word in ("else", "elif") and saved:
            stack[:] = saved[-1]
        elif word == "endif" and saved:
            saved.pop()

    def place(self, i: int) -> Place:
        return Place(self.source, self.at[i].line)

    def erase(self, start: int, stop: int) -> None:
        """Blanks the meaningful tokens start:stop; the blanks and newlines between them stay."""
        for i in range(start, stop):
            self.at[i].text = ""

    def names(self, start: int, stop: int) -> frozenset[str]:
        """The names among the meaningful tokens start:stop."""
        return frozenset(t.text for t in self.at[start:stop] if t.kind == "name")

    def find(self, word: str, start: int) -> int:
        """The index of the next `word` from `start`, or the end."""
        return next((i for i in range(start, len(self.at)) if self.text(i) == word), len(self.at))

    def directive_end(self, start: int) -> int:
        """The index after the last token of the preprocessor line that begins at `start`."""
        lines = self.source.split("\n")
        line = self.at[start].line
        while line < len(lines) and lines[line].rstrip().endswith("\\"):
            line += 1
        return next((i for i in range(start, len(self.at)) if self.at[i].line > line), len(self.at))

    def words(self, start: int, stop: int) -> str:
        return " ".join(self.text(i) for i in range(start, stop))

    def joined(self) -> str:
        return "".join(t.text for t in self.tokens)


_CONDITIONALS = {"if", "ifdef", "ifndef", "else", "elif", "endif"}
