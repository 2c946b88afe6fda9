"""The code of an answer comes in, what the judge compiles goes out: headers before it, the judge's `kernel` after it.

C is tried where nothing in the text is C++. The entry is the function of the expected name, else the one that takes as many pointers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .c_source import CFunction, blanked, functions
from .record import Record

_C_HEADERS = "stdint.h stdbool.h stddef.h stdlib.h string.h math.h float.h limits.h stdio.h omp.h"
_CPP_HEADERS = "cstdint cstddef cstdlib cstring cmath cfloat climits cstdio algorithm numeric vector array limits memory functional utility omp.h"
_CPP = re.compile(
    r"\bstd::|\btemplate\s*<|\bconstexpr\b|\bnullptr\b|\bstatic_cast\b|\breinterpret_cast\b|\busing\s|\bnamespace\b|extern\s+\"C\"|\bauto\s+\w+\s*=|\[[&=]\]"
    r"|#\s*include\s*<(?:c[a-z]+|vector|algorithm|array|numeric|memory|limits|thread|iostream|string|functional|random|utility)>|\b__restrict\b(?!_)|::"
)
_C_EXTREMA = """\
#define max(a, b) __extension__({ __typeof__((a) + (b)) wl_a = (a), wl_b = (b); wl_a > wl_b ? wl_a : wl_b; })
#define min(a, b) __extension__({ __typeof__((a) + (b)) wl_a = (a), wl_b = (b); wl_a < wl_b ? wl_a : wl_b; })
"""
_CPP_EXTREMA = """\
template <class A, class B> constexpr auto max(A a, B b) { return a > b ? a : b; }
template <class A, class B> constexpr auto min(A a, B b) { return a < b ? a : b; }
"""


@dataclass(frozen=True)
class Unit:
    """What is compiled: `text` in `language` (c or c++); `notes` say what was added to or changed around the answer."""

    text: str
    language: str
    notes: tuple[str, ...] = ()


class NoEntry(Exception):
    """The answer defines no function that can be called with the record's arguments."""


def language_of(code: str) -> str:
    """`c` or `c++`, by what the text uses."""
    return "c++" if _CPP.search(blanked(code)) or _CPP.search(code) else "c"


def unit_of(code: str, record: Record, language: str | None = None) -> Unit:
    """The translation unit of an answer in C or C++. Raises `NoEntry`."""
    language = language or language_of(code)
    notes: list[str] = []
    function = _entry(code, record, notes)
    parts = [f"#include <{h}>" for h in (_C_HEADERS if language == "c" else _CPP_HEADERS).split()]
    if language == "c":
        parts.append("#ifndef M_PI\n#define M_PI 3.14159265358979323846\n#endif")
    else:
        parts.append("#define restrict __restrict__")
    if _bare_extrema(code):
        parts.append(_C_EXTREMA if language == "c" else _CPP_EXTREMA)
    if function.name == "kernel":
        code = re.sub(r"\bkernel\b", "answered_kernel", code)
    parts += ["#line 1 \"answer\"", code, _kernel(record, "answered_kernel" if function.name == "kernel" else function.name, language)]
    return Unit("\n".join(parts) + "\n", language, tuple(notes))


def _entry(code: str, record: Record, notes: list[str]) -> CFunction:
    found = functions(code)
    named = [f for f in found if f.name == record.entry]
    wanted = len(record.arguments)
    if named:
        if len(named[-1].parameters) != wanted:
            raise NoEntry(f"{record.entry} takes {len(named[-1].parameters)} arguments, {wanted} are given")
        return named[-1]
    fitting = [f for f in found if f.pointers == wanted == len(f.parameters) and f.name != "main"]
    if not fitting:
        raise NoEntry(f"no function {record.entry}, and none that takes {wanted} pointers")
    notes.append(f"called {fitting[-1].name} for {record.entry}")
    return fitting[-1]


def _bare_extrema(code: str) -> bool:
    """True where `max(` or `min(` is called but not defined, and not std's."""
    bare = blanked(code)
    if re.search(r"using\s+(?:namespace\s+std|std::(?:max|min))\b", bare) or re.search(r"#\s*define\s+(?:max|min)\b", bare):
        return False
    if any(f.name in {"max", "min"} for f in functions(code)):
        return False
    return bool(re.search(r"(?<![\w:.>])(?:max|min)\s*\(", bare))


def _kernel(record: Record, name: str, language: str) -> str:
    """The judge's entry: the record's arguments in its order, cast to what the function takes."""
    count = len(record.arguments)
    parameters = ", ".join(f"void* a{i}" for i in range(count))
    if language == "c":
        passed = ", ".join(f"a{i}" for i in range(count))
        return f"void kernel({parameters}) {{ {name}({passed}); }}"
    any_ = "namespace { struct WlAny { void* p; template <class T> operator T*() const { return static_cast<T*>(p); } }; }"
    passed = ", ".join(f"WlAny{{a{i}}}" for i in range(count))
    return f'{any_}\nextern "C" void kernel({parameters}) {{ {name}({passed}); }}'
