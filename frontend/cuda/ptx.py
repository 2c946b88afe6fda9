"""Inline PTX of one thread in CUDA's own words. A file's text comes in and goes out on the same lines; what has no such words stays `asm`.

    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(d) : "f"(a), "f"(b), "f"(c));   ->   { d = fmaf((a), (b), (c)); }

Loads and stores of global memory, arithmetic, bits, conversions, atomic additions, special registers; hints and fences are nothing to do.
What threads of a warp do together (`mma`, `ldmatrix`, shuffles) and what names shared memory by 32 bits stays.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .macros import closing

_ASM = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|\b(?:asm|__asm__|__asm)\s*(?:volatile|__volatile__)?\s*(\()", re.S)
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"")
_OPERAND = re.compile(r"\s*(?:\[(\w+)\]\s*)?\"([=+&]*)([rfldhn])\"\s*(\()")
_KINDS = {"f": "float", "d": "double", "r": "unsigned", "l": "unsigned long long", "h": "unsigned short", "n": "int"}
_BITS = {"f": 32, "d": 64, "r": 32, "l": 64, "h": 16}
_TYPES = {
    "f32": "float", "f64": "double", "u8": "unsigned char", "s8": "signed char", "u16": "unsigned short", "s16": "short", "u32": "unsigned", "s32": "int",
    "b32": "unsigned", "u64": "unsigned long long", "s64": "long long", "b64": "unsigned long long", "b8": "unsigned char", "b16": "unsigned short",
}  # fmt: skip
_REGISTERS = {"laneid": "((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32)"}
_REGISTERS |= {f"{a}.{x}": f"{b}.{x}" for a, b in (("tid", "threadIdx"), ("ctaid", "blockIdx"), ("ntid", "blockDim"), ("nctaid", "gridDim")) for x in "xyz"}
_FUNCTIONS = {"ex2": "exp2f({})", "lg2": "log2f({})", "rcp": "(1.0f / {})", "sqrt": "sqrtf({})", "rsqrt": "rsqrtf({})", "sin": "sinf({})", "cos": "cosf({})", "tanh": "tanhf({})"}


@dataclass(frozen=True)
class _Operand:
    name: str
    written: bool
    kind: str
    value: str


class _Unknown(Exception):
    """PTX that stays as it is."""


def plain_ptx(source: str) -> str:
    """The text with such statements written out."""
    out, at = [], 0
    for m in _ASM.finditer(source):
        if m[1] is None or m.start() < at:
            continue
        close = _closing(source, m.start(1))
        end = re.compile(r"\s*;").match(source, close + 1)
        try:
            made = _statements(source[m.end() : close]) if end else None
        except _Unknown:
            made = None
        if made is None or end is None:
            continue
        lines = source.count("\n", m.start(), end.end())
        out += [source[at : m.start()], made if made.count(";") == 1 else f"{{ {made} }}", "\n" * lines]
        at = end.end()
    return "".join([*out, source[at:]])


def _closing(source: str, start: int) -> int:
    """The bracket that closes the one at `start`, strings left out."""
    blank = _STRING.sub(lambda m: " " * len(m[0]), source[start:])
    return start + closing(blank, 0)


def _statements(inner: str) -> str:
    lead = re.match(r"(?:\s*\"(?:\\.|[^\"\\])*\")+", inner)
    if lead is None:
        raise _Unknown
    return _written("".join(ast.literal_eval(s) for s in _STRING.findall(lead[0])), _operands(inner[lead.end() :]))


def plain_statement(code: str, operands: Iterable[tuple[str, str, str]]) -> str | None:
    """One statement's PTX, whose operands are (name, constraint, value), in C++; None where it has no such words."""
    try:
        return _written(code, [_Operand(name, constraint[:1] in "=+", constraint[-1:], value) for name, constraint, value in operands])
    except _Unknown:
        return None


def _written(code: str, operands: list[_Operand]) -> str:
    code = re.sub(r"//[^\n]*|/\*.*?\*/", " ", code, flags=re.S)
    lines = [" ".join(line.split()) for line in code.split(";")]
    lines = [line for line in lines if line]
    written = {x.value for x in operands if x.written}
    if not lines or (len(lines) > 1 and any(not x.written and x.value in written for x in operands)):
        raise _Unknown
    return " ".join(_instruction(line, operands) for line in lines)


def _operands(text: str) -> list[_Operand]:
    found, at = [], 0
    while m := re.compile(r"[\s:,]*(?=[\[\"])").match(text, at):
        operand = _OPERAND.match(text, m.end())
        if operand is None:
            if re.match(r"(?:\s*\"\w+\"\s*,?)+\s*$", text[m.end() :]):  # what the compiler is to forget
                return found
            raise _Unknown
        close = _closing(text, operand.start(4))
        found.append(_Operand(operand[1] or "", bool(operand[2]), operand[3], text[operand.end() : close].strip()))
        at = close + 1
    if text[at:].strip(" \n\t:"):
        raise _Unknown
    return found


def _instruction(line: str, operands: list[_Operand]) -> str:
    opcode, _, rest = line.partition(" ")
    arguments = [x.strip() for x in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", rest) if x.strip()]
    for pattern, make in _TABLE:
        if m := pattern.fullmatch(opcode):
            return make(_Line(operands, arguments), m)
    raise _Unknown


@dataclass(frozen=True)
class _Line:
    operands: list[_Operand]
    arguments: list[str]

    def operand(self, text: str) -> _Operand | None:
        if m := re.fullmatch(r"%(\d+)", text):
            return self.operands[int(m[1])] if int(m[1]) < len(self.operands) else None
        m = re.fullmatch(r"%\[(\w+)\]", text)
        return next((x for x in self.operands if m and x.name == m[1]), None)

    def value(self, i: int, type_: str = "") -> str:
        """The i-th argument, as `type_` where it has as many bits."""
        text = self.arguments[i]
        found = self.operand(text)
        if found is None:
            if re.fullmatch(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?", text):
                return f"({type_}){text}" if type_ else text
            if text.lstrip("%") in _REGISTERS and text.startswith("%"):
                return _REGISTERS[text.lstrip("%")]
            raise _Unknown
        floats = found.kind in "fd"
        if type_ and floats != (type_ in ("float", "double")):
            raise _Unknown
        value = found.value if re.fullmatch(r"[\w.]+", found.value) else f"({found.value})"
        return f"({type_}){value}" if type_ and not floats else value

    def place(self, i: int, bits: int = 0) -> str:
        found = self.operand(self.arguments[i])
        if found is None or not found.written or (bits and _BITS.get(found.kind) != bits):
            raise _Unknown
        return found.value

    def kind(self, i: int) -> str:
        found = self.operand(self.arguments[i])
        return found.kind if found else ""

    def want(self, count: int) -> None:
        if len(self.arguments) != count:
            raise _Unknown

    def address(self, i: int, type_: str) -> str:
        m = re.fullmatch(r"\[\s*(%\w+|%\[\w+\])\s*(?:\+\s*(\d+))?\s*\]", self.arguments[i])
        found = self.operand(m[1]) if m else None
        if m is None or found is None or found.kind != "l":
            raise _Unknown
        if m[2]:
            return f"reinterpret_cast<{type_}*>(reinterpret_cast<{'const ' if type_.startswith('const') else ''}char*>({found.value}) + {m[2]})"
        return f"reinterpret_cast<{type_}*>({found.value})"


def _element(l_: _Line, places: list[str], type_: str) -> list[_Operand]:
    """The operands of a load or store, which have the type's kind and, but for bytes and halves, its bits."""
    found = [l_.operand(x.strip()) for x in places]
    out = [x for x in found if x is not None]
    wide = {"float": "f", "double": "d", "unsigned": "r", "int": "r", "unsigned long long": "l", "long long": "l"}.get(type_)
    if len(out) != len(found) or any(x.kind != (wide or x.kind) or (x.kind in "fdn" and not wide) for x in out):
        raise _Unknown
    return out


def _load(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    type_, count = _of_kind(l_, m, 0), int(m["count"] or 1)
    to = _element(l_, l_.arguments[0].strip("{} ").split(","), type_)
    if len(to) != count or not all(x.written for x in to):
        raise _Unknown
    source = l_.address(1, f"const {type_}")
    if count == 1:
        return f"{to[0].value} = *{source};"
    return f"const {type_}* from_ = {source}; " + " ".join(f"{x.value} = from_[{k}];" for k, x in enumerate(to))


def _of_kind(l_: _Line, m: re.Match, at: int) -> str:
    """The type of a load or store; bits may be a float's."""
    first = l_.operand(l_.arguments[at].strip("{} ").split(",")[0].strip())
    if m["type"] in ("b32", "b64") and first is not None and first.kind in "fd":
        return _KINDS[first.kind] if _BITS[first.kind] == int(m["type"][1:]) else ""
    return _TYPES[m["type"]]


def _store(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    type_, count = _of_kind(l_, m, 1), int(m["count"] or 1)
    values = _element(l_, l_.arguments[1].strip("{} ").split(","), type_)
    if len(values) != count:
        raise _Unknown
    if count == 1:
        return f"*{l_.address(0, type_)} = ({type_})({values[0].value});"
    return f"{type_}* to_ = {l_.address(0, type_)}; " + " ".join(f"to_[{k}] = ({type_})({x.value});" for k, x in enumerate(values))


_OPERATORS = {"add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "mul.lo": "{} * {}", "div": "{} / {}", "and": "{} & {}", "or": "{} | {}", "xor": "{} ^ {}", "rem": "{} % {}"}


def _binary(l_: _Line, m: re.Match) -> str:
    l_.want(3)
    type_, name = _TYPES[m["type"]], m["name"]
    a, b = l_.value(1, type_), l_.value(2, type_)
    l_.place(0, int(m["type"][1:]))
    if name in ("min", "max"):
        call = f"f{name}f({a}, {b})" if type_ == "float" else f"f{name}({a}, {b})" if type_ == "double" else f"({a} {'<' if name == 'min' else '>'} {b} ? {a} : {b})"
        return f"{l_.place(0)} = {call};"
    return f"{l_.place(0)} = {_OPERATORS[name].format(a, b)};"


def _shift(l_: _Line, m: re.Match) -> str:
    l_.want(3)
    type_, bits = _TYPES[m["type"]], int(m["type"][1:])
    a, n = l_.value(1, type_), l_.value(2, "unsigned")
    beyond = f"({a} < 0 ? ({type_})-1 : ({type_})0)" if m["type"].startswith("s") else f"({type_})0"
    return f"{l_.place(0, bits)} = {n} < {bits}u ? {a} {'<<' if m['name'] == 'shl' else '>>'} {n} : {beyond};"


def _fma(l_: _Line, m: re.Match) -> str:
    l_.want(4)
    type_ = _TYPES[m["type"]]
    a, b, c = (l_.value(i, type_) for i in (1, 2, 3))
    l_.place(0, int(m["type"][1:]))
    call = {"float": f"fmaf({a}, {b}, {c})", "double": f"fma({a}, {b}, {c})"}.get(type_, f"{a} * {b} + {c}")
    return f"{l_.place(0)} = {call};"


def _function(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    return f"{l_.place(0, 32)} = {_FUNCTIONS[m['name']].format(l_.value(1, 'float'))};"


def _count(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    name = {"popc": "__popc", "clz": "__clz", "brev": "__brev"}[m["name"]]
    return f"{l_.place(0, 32)} = {name}({l_.value(1, 'int' if name == '__clz' else 'unsigned')});"


def _extract(l_: _Line, m: re.Match) -> str:
    l_.want(4)
    a, at, n = (l_.value(i, "unsigned") for i in (1, 2, 3))
    mask = f"((1ull << (({n} & 255u) < 32u ? ({n} & 255u) : 32u)) - 1ull)"
    return f"{l_.place(0, 32)} = (unsigned)(((unsigned long long){a} >> (({at} & 255u) < 32u ? ({at} & 255u) : 32u)) & {mask});"


def _choose(l_: _Line, m: re.Match) -> str:
    """`lop3`: any function of three bits, by its table."""
    l_.want(5)
    names = [l_.value(i, "unsigned") for i in (1, 2, 3)]
    table = l_.operand(l_.arguments[4])
    text = table.value if table else l_.arguments[4]
    if not re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", text):
        raise _Unknown
    terms = []
    for k in range(8):
        if int(text, 0) >> k & 1:
            terms.append("(" + " & ".join(x if k >> (2 - i) & 1 else f"~{x}" for i, x in enumerate(names)) + ")")
    return f"{l_.place(0, 32)} = {' | '.join(terms) or '0u'};"


def _move(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    bits = int(m["type"][1:])
    to, from_ = l_.kind(0), l_.kind(1) or l_.kind(0)
    words = {("f", "r"): "__uint_as_float((unsigned){})", ("r", "f"): "__float_as_uint({})"}
    if to != from_ and (to, from_) not in words:
        raise _Unknown
    return f"{l_.place(0, bits)} = {words.get((to, from_), '{}').format(l_.value(1))};"


def _convert(l_: _Line, m: re.Match) -> str:
    l_.want(2)
    to, from_, how = m["to"], m["from"], m["how"] or ""
    value = l_.value(1, _TYPES[from_])
    l_.place(0, int(to[1:]))
    if from_ == "f32" and to == "s32":
        name = {".rni": "__float2int_rn", ".rzi": "__float2int_rz", ".rmi": "__float2int_rd", ".rpi": "__float2int_ru"}.get(how)
        if name is None:
            raise _Unknown
        return f"{l_.place(0)} = {name}({value});"
    if (from_[0] == "f" and to[0] != "f") or how not in ("", ".rn"):
        raise _Unknown
    return f"{l_.place(0)} = ({_TYPES[to]}){value};"


def _added(l_: _Line, m: re.Match) -> str:
    type_ = _TYPES[m["type"]]
    if m["name"] == "red":
        l_.want(2)
        return f"atomicAdd({l_.address(0, type_)}, {l_.value(1, type_)});"
    l_.want(3)
    return f"{l_.place(0, int(m['type'][1:]))} = atomicAdd({l_.address(1, type_)}, {l_.value(2, type_)});"


def _nothing(l_: _Line, m: re.Match) -> str:
    return ""


def _barrier(l_: _Line, m: re.Match) -> str:
    if l_.arguments != ["0"]:
        raise _Unknown
    return "__syncthreads();"


_CACHE = r"(?:\.(?:nc|ca|cg|cs|lu|cv|wb|wt|volatile|weak|relaxed|gpu|cta|sys|L1::\w+|L2::\w+))*"
_TABLE: tuple[tuple[re.Pattern, Callable[[_Line, re.Match], str]], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (rf"ld(?:\.global)?{_CACHE}(?:\.v(?P<count>[248]))?\.(?P<type>[fusb](?:8|16|32|64))", _load),
        (rf"st(?:\.global)?{_CACHE}(?:\.v(?P<count>[248]))?\.(?P<type>[fusb](?:8|16|32|64))", _store),
        (r"(?P<name>add|sub|mul|div|min|max)(?:\.rn|\.full|\.approx)?(?:\.ftz)?\.(?P<type>f(?:32|64))", _binary),
        (r"(?P<name>add|sub|mul\.lo|div|rem|min|max)\.(?P<type>[us](?:32|64))", _binary),
        (r"(?P<name>and|or|xor)\.(?P<type>b(?:32|64))", _binary),
        (r"(?P<name>shl|shr)\.(?P<type>[usb](?:32|64))", _shift),
        (r"(?:fma\.rn(?:\.ftz)?\.(?P<type>f32|f64))", _fma),
        (r"mad\.lo\.(?P<type>[us](?:32|64))", _fma),
        (rf"(?P<name>{'|'.join(_FUNCTIONS)})\.(?:approx|rn)(?:\.ftz)?\.f32", _function),
        (r"(?P<name>popc|clz|brev)\.b32", _count),
        (r"bfe\.u32", _extract),
        (r"lop3\.b32", _choose),
        (r"mov\.(?P<type>[fusb](?:32|64))", _move),
        (r"cvt(?P<how>\.\w+)?\.(?P<to>f32|f64|s32|u32|s64|u64)\.(?P<from>f32|f64|s32|u32|s64|u64)", _convert),
        (r"(?P<name>red|atom)(?:\.global)?(?:\.(?:relaxed|gpu|sys|cta))*\.add\.(?P<type>f32|u32|s32|u64)", _added),
        (r"(?:prefetch|prefetchu|membar|fence|discard|applypriority|nanosleep)\.(?!proxy|mbarrier)[\w.:]+", _nothing),
        (r"bar(?:rier)?\.(?:cta\.)?sync(?:\.aligned)?", _barrier),
    )
)

