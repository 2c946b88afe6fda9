"""Lines of C++ with indentation, unique names, and temporaries that are shared inside one block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .expand import fresh

_RESERVED = """
alignas alignof and asm auto bool break case catch char class compl const constexpr continue decltype default delete do double else enum
explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not nullptr operator or private
protected public register return short signed sizeof static struct switch template this throw true try typedef typename union unsigned
using virtual void volatile while xor main errno stdin stdout INFINITY NAN std wl int8_t uint8_t int16_t int32_t int64_t f32 f64
abs max min floor ceil trunc round sqrt rsqrt exp exp2 expm1 sigmoid tanh sinh cosh log log2 log10 log1p erf erfc
sin cos tan asin acos atan asinh acosh atanh pow atan2 fmod isnan isinf lanes mask half bfloat load store store_even stream gather scatter select first
every any all lane splat iota convert get put same element scale polynomial each lt le gt ge eq ne rotate reversed aligned split scratch
held parallel_from bitcast unaligned keep widen atomically sine copy_sign floor_div floor_mod now by l
"""
_LIBC = """
y0 y1 yn j0 j1 jn gamma time malloc free abort exit printf memcpy memset remainder hypot cbrt logb signal read write
"""
# C functions that g++ knows: a variable may hide them, a function may not be called so.
LIBRARY = frozenset(_LIBC.split())
# Names that a generated variable must not take: C++ keywords, libc names that g++ knows, names of the prelude header.
KEYWORDS = frozenset(_RESERVED.split())


class Writer:
    """Collects lines; `block` opens braces, `temporary` names a value once per block."""

    def __init__(self, taken: set[str]):
        self.lines: list[str] = []
        self.depth = 1
        self.taken = taken | KEYWORDS
        self._known: list[dict[str, str]] = [{}]
        self._said = [""]

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text if text else "")

    def raw(self, text: str) -> None:
        """A preprocessor line."""
        self.lines.append(text)

    def comment(self, text: str) -> None:
        """Said once for a run of lines about the same thing."""
        if self._said[-1] != text:
            self._said[-1] = text
            self.line(f"// {text}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(f"{head} {{" if head else "{")
        self.depth += 1
        self._known.append({})
        self._said += [""]
        yield
        self._known.pop()
        self._said.pop()
        self._said[-1] = ""
        self.depth -= 1
        self.line("}")

    def fresh(self, name: str) -> str:
        return fresh(name, self.taken)

    def temporary(self, kind: str, name: str, text: str, shared: bool = True) -> str:
        """The name of a constant with this value; the same text gets the same name inside a block when `shared`."""
        if text.isidentifier():
            return text
        for known in reversed(self._known):
            if shared and text in known:
                return known[text]
        out = self.fresh(name)
        self.line(f"const {kind} {out} = {text};")
        if shared:
            self._known[-1][text] = out
        return out
