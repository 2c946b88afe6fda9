"""Lines of CUDA C++ with indentation, and the names that generated variables must not take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_WORDS = """
alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete do double else enum explicit
export extern false float for friend goto if inline int long mutable namespace new noexcept not nullptr operator or private protected public
register return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void
volatile while xor compl bitand bitor threads value other partial
threadIdx blockIdx blockDim gridDim warpSize dim3 uint3 int2 int4 float2 float3 float4 double2 half __half INFINITY NAN main
abs max min floor ceil trunc round rint sqrt rsqrt exp exp2 expm1 tanh sinh cosh log log2 log10 log1p erf erfc sin cos tan asin acos atan
asinh acosh atanh pow atan2 fmod isnan isinf maximum minimum sigmoid floor_divide floor_remainder remainder_of atomic_max atomic_min
printf assert stdin stdout errno uint ushort uchar ulong
"""
RESERVED = frozenset(_WORDS.split())
# Functions that a variable may hide but a kernel may not be called.
_LIBRARY = "y0 y1 yn j0 j1 jn gamma time signal clock malloc free memcpy memset normcdf main"
LIBRARY = frozenset(_LIBRARY.split())


class Writer:
    """Collects lines; `block` opens braces."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text if text else "")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(f"{head} {{" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")
