"""The C++ type of an expression, as far as declarations tell. Declared types come in, a type's text goes out ("" for unknown)."""

from __future__ import annotations

import re

from ....frontend.cuda import tree as t
from ....frontend.cuda.macros import closing

_RANK = ("bool", "char", "short", "int", "unsigned", "long", "long long", "int64_t", "size_t", "float", "double")
_FLOATS = frozenset(
    ("expf", "logf", "sqrtf", "rsqrtf", "fmaxf", "fminf", "fabsf", "powf", "tanhf", "erff", "floorf", "ceilf", "sinf", "cosf", "fmaf",
     "log2f", "exp2f", "log1pf", "expm1f", "roundf", "truncf", "fmodf", "bits_as_float", "__half2float", "__bfloat162float", "__low2float", "__high2float")
)  # fmt: skip
_LIKE_ARGUMENT = frozenset(("max", "min", "exp", "log", "sqrt", "abs", "fabs", "pow", "tanh", "fmax", "fmin", "floor", "ceil"))
_COMPARES = frozenset(("<", "<=", ">", ">=", "==", "!=", "&&", "||"))


_MADE = re.compile(r"((?!return\b)[A-Za-z_][\w:]*(?:<[^{}]*>)?)\s*\{")  # `Op<float>{}`


def plain(type_: str) -> str:
    """A type without const, volatile, references."""
    words = [w for w in type_.replace("&", " ").split() if w not in ("const", "volatile", "constexpr", "static", "register")]
    return " ".join(words)


_STRUCT = re.compile(r"(?:\btemplate\s*<([^<>]*)>\s*)?\bstruct\s+(?:__align__\s*\([^)]*\)\s*|alignas\s*\([^)]*\)\s*)?(\w+)\s*(\{)")
_FIELDS = re.compile(r"\s*((?:unsigned\s+|long\s+)*[\w:]+)\s+([\w\s,]+?)\s*$", re.S)


def returns_of(file: t.CudaFile) -> dict[str, str]:
    """What each function gives, each class as what its constructor gives, and `Class::field` as the field's type; "" for what depends on the
    arguments' types."""
    found = _fields(file.source)
    found |= {name: name for name in re.findall(r"\b(?:struct|class)\s+(?:__align__\s*\([^)]*\)\s*|alignas\s*\([^)]*\)\s*)?(\w+)", file.source)}
    return found | {f.name: "" if plain(f.returns) in f.template_names else f.returns for f in file.functions}


def _fields(source: str) -> dict[str, str]:
    """The fields of structs, `struct P { float a, b; };`; the names of a template's parameters as `Class::<>`."""
    found = {}
    source = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.S)
    for struct in _STRUCT.finditer(source):
        body = source[struct.end(3) : closing(source, struct.start(3))]
        while "{" in body and (flat := re.sub(r"\{[^{}]*\}", ";", body)) != body:
            body = flat
        if struct[1]:
            found[f"{struct[2]}::<>"] = ",".join(p.split("=")[0].split()[-1] for p in struct[1].split(","))
        for line in body.split(";"):
            if "(" not in line and (fields := _FIELDS.match(re.sub(r"=[^,]*", "", line))):
                found |= {f"{struct[2]}::{field.strip()}": fields[1] for field in fields[2].split(",")}
    return found


def _field(type_: str, name: str, returns: dict[str, str]) -> str:
    """The type of a struct's field: float for `mean` of a `Stats<float>` whose mean is a T."""
    base, _, given = type_.partition("<")
    found = returns.get(f"{base.strip()}::{name}", "")
    parameters = returns.get(f"{base.strip()}::<>", "").split(",")
    arguments = [a.strip() for a in given.rstrip().removesuffix(">").split(",")]
    return dict(zip(parameters, arguments)).get(found, found)


def type_of(e: t.Expr, declared: dict[str, str], returns: dict[str, str] | None = None) -> str:
    """`declared`: the full type text per name, with one `*` per level of pointer or array."""
    if isinstance(e, t.Literal):
        return _literal(e.text)
    if isinstance(e, t.Name):
        return plain(declared.get(e.text, ""))
    if isinstance(e, t.Cast):
        return plain(e.type)
    if isinstance(e, t.Index) or (isinstance(e, t.Unary) and e.op == "*"):
        return _pointee(type_of(e.base if isinstance(e, t.Index) else e.value, declared, returns))
    if isinstance(e, t.Member):
        return _member(e, declared, returns or {})
    if isinstance(e, t.Conditional):
        return wider(type_of(e.then, declared, returns), type_of(e.orelse, declared, returns))
    if isinstance(e, t.Binary):
        if e.op in _COMPARES:
            return "bool"
        return wider(type_of(e.left, declared, returns), type_of(e.right, declared, returns))
    if isinstance(e, (t.Unary, t.Assign)):
        inner = type_of(e.value if isinstance(e, t.Unary) else e.target, declared, returns)
        return "bool" if isinstance(e, t.Unary) and e.op == "!" else inner + "*" if isinstance(e, t.Unary) and e.op == "&" else inner
    if isinstance(e, t.Call):
        return _call(e, declared, returns or {})
    if isinstance(e, t.Opaque):
        made = _MADE.match("".join(p if isinstance(p, str) else p.text if isinstance(p, t.Name) else "_" for p in e.parts))
        return made[1] if made else ""
    return ""


def _literal(text: str) -> str:
    low = text.lower()
    if text.startswith('"'):
        return "const char*"
    if low in ("true", "false"):
        return "bool"
    if "." in low or ("e" in low and not low.startswith("0x")):
        return "float" if low.endswith("f") else "double"
    return ("unsigned long long" if "l" in low else "unsigned") if "u" in low else "long long" if "ll" in low else "int"


def _pointee(type_: str) -> str:
    return type_[:-1].strip() if type_.endswith("*") else ""


def _member(e: t.Member, declared: dict[str, str], returns: dict[str, str]) -> str:
    base = e.value.text if isinstance(e.value, t.Name) else ""
    if base in ("threadIdx", "blockIdx", "blockDim", "gridDim"):
        return "unsigned"
    vector = type_of(e.value, declared, returns).rstrip("*" if e.op == "->" else "")
    if field := _field(vector, e.name, returns):
        return field
    return {"float": "float", "int": "int", "double": "double", "uint": "unsigned"}.get(vector.rstrip("1234"), "") if vector else ""


def _call(e: t.Call, declared: dict[str, str], returns: dict[str, str]) -> str:
    name = t.called(e)
    if returns.get(name) == name and isinstance(e.function, t.Name):
        return e.function.text
    if returns.get(name):
        return plain(returns[name])
    if name in _FLOATS:
        return "float"
    if name in ("bits_as_int", "bits_of_int"):
        return "int"
    if (name in _LIKE_ARGUMENT or name in returns) and e.args:
        types = [type_of(a, declared, returns) for a in e.args]
        found = types[0]
        for other in types[1:]:
            found = wider(found, other)
        return found
    if name.startswith("make_"):
        return name[len("make_") :]
    return ""


def wider(a: str, b: str) -> str:
    """The type of an arithmetic expression of two types."""
    if a == b or not b:
        return a
    if not a:
        return b
    if a.endswith("*") or b.endswith("*"):
        return a if a.endswith("*") else b
    ranks = [_RANK.index(x) if x in _RANK else len(_RANK) for x in (a, b)]
    best = a if ranks[0] >= ranks[1] else b
    return "int" if best in ("bool", "char", "short") else best


def declared_type(s: t.Declare, d: t.Declarator) -> str:
    """The type that a use of a declared name has: a star for each extent."""
    stars = d.mark.count("*") + len(d.extents)
    return plain(s.type) + "*" * stars
