"""Inline PTX as C++. The text and the operands of one `asm` come in, a statement that calls `warploom/tensor.h` goes out.

What is known is what kernels on tensor cores use: `mma.sync`, `ldmatrix`, `cp.async` and the addresses that these take, a few special
registers, and fast functions of one float. What is not known fails where it is run, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_KINDS = {"r": "uint32_t", "f": "uint32_t", "l": "uint64_t", "d": "uint64_t", "h": "uint16_t", "n": "int64_t", "i": "int64_t"}
UNKNOWN = "::wl::unknown_ptx"
_REGISTERS = {"32": "uint32_t", "64": "uint64_t", "16": "uint16_t"}
_OPCODE = re.compile(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+(?:::[A-Za-z0-9_]+)*)+")
_MMA = re.compile(r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col(?:\.satfinite)?\.(\w+)\.(\w+)\.(\w+)\.(\w+)")
_LDMATRIX = re.compile(r"ldmatrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared(?:::cta)?\.b16")
_SHAPES = {
    ("f16", "8"), ("f16", "16"), ("bf16", "8"), ("bf16", "16"), ("tf32", "4"), ("tf32", "8"), ("s8", "16"), ("s8", "32"), ("u8", "16"), ("u8", "32"),
}  # fmt: skip
_FUNCTIONS = {"ex2": "exp2f", "lg2": "log2f", "tanh": "tanhf", "rcp": "1.0f / ", "sqrt": "sqrtf", "rsqrt": "1.0f / sqrtf", "sin": "sinf", "cos": "cosf"}
_SPECIAL = {"laneid": "::wl::self->current % 32", "warpid": "::wl::self->current / 32", "nwarpid": "(::wl::self->threads_in_block + 31) / 32"}


@dataclass(frozen=True)
class Operand:
    """One operand of an `asm`: its constraint (`r`, `=r`, `+f`, ..), its expression, the name that the text may use for it."""

    constraint: str
    value: str
    name: str = ""

    @property
    def written(self) -> bool:
        return self.constraint[:1] in "=+"

    @property
    def kind(self) -> str:
        return _KINDS.get(self.constraint[-1:], "")


def is_ptx(text: str) -> bool:
    """Whether an `asm` text is PTX and none of the host's."""
    return _OPCODE.search(text) is not None


def statement(text: str, operands: Sequence[Operand]) -> str:
    """One C++ statement, without its semicolon, that does what the PTX says."""
    try:
        return _Block(tuple(operands)).statement(text)
    except _Unknown as what:
        return f'{UNKNOWN}("{what}")'


class _Unknown(Exception):
    """PTX that is not known; the message is its name."""


@dataclass
class _Block:
    operands: tuple[Operand, ...]
    registers: dict[str, str] = field(default_factory=dict)

    def statement(self, text: str) -> str:
        for x in self.operands:
            if not x.kind:
                raise _Unknown(f"an operand {x.constraint}")
        lines = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
        inside = "".join(self.line(line.strip()) for line in _lines(lines))
        return f"do {{ {self.taken()}{inside}{self.given()}}} while (0)"

    def taken(self) -> str:
        out = ""
        for k, x in enumerate(self.operands):
            if x.written:
                start = f"::wl::take<{x.kind}>(wl_to{k})" if x.constraint[0] == "+" else "0"
                out += f"auto& wl_to{k} = {x.value}; {x.kind} wl_{k} = {start}; "
            else:
                out += f"const {x.kind} wl_{k} = ::wl::take<{x.kind}>({x.value}); "
        return out

    def given(self) -> str:
        return "".join(f"::wl::give(wl_to{k}, wl_{k}); " for k, x in enumerate(self.operands) if x.written)

    def line(self, line: str) -> str:
        if line.startswith(".reg"):
            return self.declared(line)
        opcode, _, rest = line.partition(" ")
        arguments = _split(rest)
        for pattern, make in _TABLE:
            match = pattern.fullmatch(opcode)
            if match:
                return make(self, match, arguments) + "; "
        raise _Unknown(opcode)

    def declared(self, line: str) -> str:
        match = re.fullmatch(r"\.reg\s+\.[busf](16|32|64)\s+([\w$,\s]+)", line)
        if not match:
            raise _Unknown(line)
        names = [n.strip() for n in match[2].split(",")]
        self.registers.update((n, f"ptx_{n}") for n in names)
        return f"{_REGISTERS[match[1]]} {', '.join(f'ptx_{n} = 0' for n in names)}; "

    def value(self, text: str) -> str:
        """The C++ expression of an operand."""
        text = text.strip()
        if (match := re.fullmatch(r"%(\d+)", text)) and int(match[1]) < len(self.operands):
            return f"wl_{match[1]}"
        if match := re.fullmatch(r"%\[(\w+)\]", text):
            found = [k for k, x in enumerate(self.operands) if x.name == match[1]]
            if found:
                return f"wl_{found[0]}"
        if (match := re.fullmatch(r"%%?([a-z]+)", text)) and match[1] in _SPECIAL:
            return _SPECIAL[match[1]]
        if text in self.registers:
            return self.registers[text]
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
            return text
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
            return f"0x{text[2:]}u"
        raise _Unknown(f"operand {text}")

    def place(self, text: str) -> str:
        """The variable that an instruction writes."""
        out = self.value(text)
        if not re.fullmatch(r"(wl|ptx)_\w+", out):
            raise _Unknown(f"operand {text}")
        return out

    def vector(self, text: str) -> list[str]:
        text = text.strip()
        return [x.strip() for x in text[1:-1].split(",")] if text.startswith("{") else [text]

    def address(self, text: str, shared: bool = True) -> str:
        """A place in shared memory, or in that of the whole GPU."""
        match = re.fullmatch(r"\[\s*(.+?)\s*(?:\+\s*(\d+|%\d+)\s*)?\]", text.strip())
        if not match:
            raise _Unknown(f"operand {text}")
        start = f"::wl::pointed({self.value(match[1])})" if shared else f"reinterpret_cast<char*>({self.value(match[1])})"
        return f"{start} + {self.value(match[2]) if match[2] else 0}"


def _lines(text: str) -> list[str]:
    """Statements; the braces of a scope (those that no operand begins with) are left out."""
    out = []
    for part in text.split(";"):
        part = " ".join(part.split())
        while part.startswith(("{", "}")):
            part = part[1:].lstrip()
        if part:
            out.append(part)
    return out


def _split(text: str) -> list[str]:
    """Operands at the commas outside braces and brackets."""
    return [x.strip() for x in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", text) if x.strip()]


# ------------------------------------------------------------------------------------------------ instructions
def _mma(b: _Block, match: re.Match, arguments: list[str]) -> str:
    depth, total, left, right, start = match.groups()
    integers = left in ("s8", "u8")
    good = left == right and (left, depth) in _SHAPES and total == start and total in (("s32",) if integers else ("f32", "f16"))
    if not good or (total == "f16" and left != "f16") or len(arguments) != 4:
        raise _Unknown(match[0])
    d, a, b_, c = (b.vector(x) for x in arguments)
    to = ", ".join(f"&{b.place(x)}" for x in d)
    others = [", ".join(b.value(x) for x in v) for v in (a, b_, c)]
    kinds = f"{len(d)}, {len(a)}, {len(b_)}, {len(c)}"
    lists = ", ".join([f"{{{to}}}", *(f"{{{x}}}" for x in others)])
    return f"::wl::mma<::wl::Type::{left}, {depth}, ::wl::Type::{total}, {kinds}>({lists})"


def _ldmatrix(b: _Block, match: re.Match, arguments: list[str]) -> str:
    to = b.vector(arguments[0])
    if len(arguments) != 2 or len(to) != int(match[1]):
        raise _Unknown(match[0])
    pointers = ", ".join(f"&{b.place(x)}" for x in to)
    return f"::wl::ldmatrix<{len(to)}, {str(bool(match[2])).lower()}>({{{pointers}}}, {b.address(arguments[1])})"


def _copy(b: _Block, match: re.Match, arguments: list[str]) -> str:
    if len(arguments) not in (3, 4) or arguments[2] not in ("4", "8", "16"):
        raise _Unknown(match[0])
    to, source = b.address(arguments[0]), b.address(arguments[1], shared=False)
    return f"::wl::copy_async<{arguments[2]}>({to}, {source}, {b.value(arguments[3]) if len(arguments) == 4 else arguments[2]})"


def _nothing(b: _Block, match: re.Match, arguments: list[str]) -> str:
    return "(void)0"


def _move(b: _Block, match: re.Match, arguments: list[str]) -> str:
    return f"{b.place(arguments[0])} = {b.value(arguments[1])}"


def _to_shared(b: _Block, match: re.Match, arguments: list[str]) -> str:
    return f"{b.place(arguments[0])} = ::wl::to_shared(reinterpret_cast<const void*>({b.value(arguments[1])}))"


def _function(b: _Block, match: re.Match, arguments: list[str]) -> str:
    return f"{b.place(arguments[0])} = ::wl::take<uint32_t>({_FUNCTIONS[match[1]]}(::wl::take<float>({b.value(arguments[1])})))"


def _barrier(b: _Block, match: re.Match, arguments: list[str]) -> str:
    if arguments != ["0"]:
        raise _Unknown(match[0])
    return "__syncthreads()"


_Make = Callable[[_Block, re.Match, list[str]], str]
_TABLE: tuple[tuple[re.Pattern, _Make], ...] = (
    (_MMA, _mma),
    (_LDMATRIX, _ldmatrix),
    (re.compile(r"cp\.async\.c[ag]\.shared(?:::cta)?\.global(?:\.L2::(?:64|128|256)B)?"), _copy),
    (re.compile(r"cp\.async\.(?:commit_group|wait_group|wait_all)"), _nothing),
    (re.compile(r"cvta\.to\.shared\.u64"), _to_shared),
    (re.compile(r"cvta\.to\.global\.u64|cvt\.u(?:32|64)\.u(?:32|64)|mov\.[busf](?:16|32|64)"), _move),
    (re.compile(rf"({'|'.join(_FUNCTIONS)})\.(?:approx|rn)(?:\.ftz)?\.f32"), _function),
    (re.compile(r"bar(?:rier)?\.(?:cta\.)?sync(?:\.aligned)?"), _barrier),
)
"""Opcode -> what makes its statement."""
