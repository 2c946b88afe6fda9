"""CUDA's own spellings in C++'s words: `__ldg(&x[i])` is `x[i]`, `__expf(x)` is `expf(x)`. A body comes in, a body goes out."""

from __future__ import annotations

from typing import Any

from ....frontend.cuda import text
from ....frontend.cuda import tree as t

_RENAMED = {
    "__expf": "expf", "__logf": "logf", "__log2f": "log2f", "__log10f": "log10f", "__sinf": "sinf", "__cosf": "cosf", "__tanf": "tanf",
    "__powf": "powf", "__fsqrt_rn": "sqrtf", "__fmaf_rn": "fmaf", "__fmaf_rz": "fmaf", "__exp10f": "exp10f", "__fsqrt_rz": "sqrtf",
    "__frsqrt_rn": "rsqrtf", "__int_as_float": "bits_as_float", "__float_as_int": "bits_as_int", "__uint_as_float": "bits_as_float",
    "__float_as_uint": "bits_as_uint", "fdividef": "__fdividef", "__popc": "__builtin_popcount", "__ffs": "__builtin_ffs",
    "__tanhf": "tanhf", "__exp2f": "exp2f", "__popcll": "__builtin_popcountll", "__ffsll": "__builtin_ffsll", "__dsqrt_rn": "sqrt",
    "__fma_rn": "fma",
}  # fmt: skip
_ATOMICS = ("Add", "Sub", "Max", "Min", "And", "Or", "Xor", "Exch", "CAS", "Inc", "Dec")
_RENAMED |= {f"atomic{name}_{scope}": f"atomic{name}" for name in _ATOMICS for scope in ("block", "system")}
_INFIX = {
    "__fdividef": "/", "__fadd_rn": "+", "__fmul_rn": "*", "__fsub_rn": "-", "__fdiv_rn": "/", "__dadd_rn": "+", "__dmul_rn": "*",
    "__mul24": "*", "__umul24": "*", "__ddiv_rn": "/", "__dsub_rn": "-", "__fadd_rz": "+", "__fmul_rz": "*", "__fdiv_rz": "/", "__fsub_rz": "-",
}
_RECIPROCALS = {"__frcp_rn": "1.0f", "__frcp_rz": "1.0f", "__frcp_rd": "1.0f", "__frcp_ru": "1.0f", "__drcp_rn": "1.0"}  # fmt: skip
_BY_VALUE = {"max": "larger", "min": "smaller", "larger": "larger", "smaller": "smaller"}
_LOADS = ("__ldg", "__ldcs", "__ldca", "__ldcg", "__ldcv", "__ldlu")
_STORES = ("__stcs", "__stcg", "__stwb", "__stwt")
_NOTHING = ("__threadfence", "__threadfence_block", "__threadfence_system", "__nanosleep", "__prefetch_global_l1", "__pipeline_commit", "__pipeline_wait_prior")
_NAMES = {
    "warpSize": t.Literal("32"),
    "CUDART_INF_F": t.Name("INFINITY"),
    "CUDART_INF": t.Name("INFINITY"),
    "CUDART_PI_F": t.Literal("3.141592654f"),
    "CUDART_NAN_F": t.Name("NAN"),
    "CUDART_MAX_NORMAL_F": t.Name("FLT_MAX"),
}


RESPELT = frozenset((*_RENAMED, *_INFIX, *_RECIPROCALS, *_LOADS, *_STORES, *_NAMES, *_NOTHING))
"""CUDA's names that have another word here."""


def macros(words: set[str]) -> str:
    """Definitions for the spellings among `words`: those in text that is not rewritten (macros, host functions)."""
    lines = {name: f"#define {name} {new}" for name, new in _RENAMED.items()}
    lines |= {name: f"#define {name}(a, b) ((a) {op} (b))" for name, op in _INFIX.items()}
    lines |= {name: f"#define {name}(a) ({one} / (a))" for name, one in _RECIPROCALS.items()}
    lines |= {name: f"#define {name}(place) (*(place))" for name in _LOADS}
    lines |= {name: f"#define {name} {value.text}" for name, value in _NAMES.items() if name != "warpSize"}
    lines["warpSize"] = "constexpr int warpSize = 32;"
    if "fdividef" in words:
        words = words | {"__fdividef"}
    return "".join(f"{lines[name]}\n" for name in sorted(words & set(lines)))


def respell(body: Any) -> Any:
    """Replaces what only nvcc knows and C++ has another word for."""
    return t.rewrite(body, _change)


def _change(n: Any) -> Any:
    if isinstance(n, t.Name):
        return _NAMES.get(n.text, n)
    if isinstance(n, t.Call):
        return _call(n)
    if isinstance(n, t.Assign):
        return _stored(n)
    if isinstance(n, t.Unary) and n.op == "*" and isinstance(n.value, t.Cast):
        return _reinterpreted(n, n.value)
    if isinstance(n, t.Evaluate) and isinstance(n.value, t.Call) and t.called(n.value) in _NOTHING:
        return ()
    if isinstance(n, t.Pragma) and n.text.split()[:1] == ["unroll"]:
        return ()  # the C++ compiler decides; nvcc's spelling means nothing to it
    if isinstance(n, t.Pragma) and n.text.split()[:1] == ["nounroll"]:
        return ()
    return n


def _call(n: t.Call) -> Any:
    name = t.called(n)
    if name in _LOADS and len(n.args) == 1:
        return pointee(n.args[0])
    if name in _STORES and len(n.args) == 2:
        return t.Assign("=", pointee(n.args[0]), n.args[1])
    if name in _INFIX and len(n.args) == 2:
        return t.Binary(_INFIX[name], *n.args)
    if name in _BY_VALUE and len(n.args) == 2 and any(isinstance(a, t.Call) and t.called(a) in _BY_VALUE for a in n.args):
        inner = tuple(t.Call(t.Name(_BY_VALUE[t.called(a)]), a.args) if isinstance(a, t.Call) and t.called(a) in _BY_VALUE else a for a in n.args)
        return t.Call(t.Name(_BY_VALUE[name]), inner)
    if name in _RECIPROCALS and len(n.args) == 1:
        return t.Binary("/", t.Literal(_RECIPROCALS[name]), n.args[0])
    if name in _RENAMED:
        return t.Call(t.Name(_RENAMED[name]), n.args)
    if name == "__pipeline_memcpy_async" and len(n.args) == 3:
        return _copied(*n.args)
    return n


_OF_BYTES = {"4": "float", "8": "float2", "16": "float4"}


def _copied(to: t.Expr, source: t.Expr, size: t.Expr) -> t.Expr:
    """An asynchronous copy, made at once: a program that waits for it as it must cannot tell."""
    bytes_ = "".join(text.expression(size).split())
    type_ = _OF_BYTES.get(bytes_) or (bytes_[7:-1] if bytes_.startswith("sizeof(") and bytes_[7:-1].isidentifier() else "")
    if not type_:
        return t.Call(t.Name("memcpy"), (to, source, size))
    place, value = (t.Unary("*", t.Cast(f"{const}{type_}*", e, "reinterpret_cast")) for const, e in (("", to), ("const ", source)))
    return t.Assign("=", place, value)


def _reinterpreted(n: t.Unary, cast: t.Cast) -> t.Expr:
    """`*(float*)&v` of a variable, which hides it from the compiler's vectorizer."""
    inner = cast.value
    if isinstance(inner, t.Unary) and inner.op == "&" and isinstance(inner.value, t.Name) and cast.type.replace(" ", "") in ("float*", "int*"):
        return t.Call(t.Name("bits_as_float" if cast.type.startswith("float") else _BITS), (inner.value,))
    return n


_BITS = "bits_of_int"


def _stored(n: t.Assign) -> t.Assign:
    """What is stored to has to stay a place in memory."""
    target = n.target
    if isinstance(target, t.Call) and t.called(target) in (_BITS, "bits_as_float") and len(target.args) == 1:
        type_ = "int*" if t.called(target) == _BITS else "float*"
        return t.Assign(n.op, t.Unary("*", t.Cast(type_, t.Unary("&", target.args[0]), "reinterpret_cast")), n.value)
    return n


def pointee(e: t.Expr) -> t.Expr:
    """`*e`, written as an element where `e` is an address of one."""
    if isinstance(e, t.Unary) and e.op == "&" and not e.postfix:
        return e.value
    if isinstance(e, t.Binary) and e.op == "+" and isinstance(e.left, t.Name):
        return t.Index(e.left, e.right)
    return t.Unary("*", e)
