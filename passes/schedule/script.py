"""Schedule scripts: text -> steps -> program. `split(i, 16); bind(i1, vector)`; one step per line or separated by `;`, `#` comments.

Comes in: a Program and a script. Goes out: the scheduled Program, legal after every step, or an IllegalStep that shows the place.
Parsing is closed: `ast.parse` and the table STEPS.
"""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields, replace

from ...ir.diagnostic import IllegalProgram, IllegalStep, ParseError, Place, TypeMismatch, suggest
from ...ir.kernel import Program
from ...ir.variants import Variant, dispatching, narrowed
from ...ir.verify import verify
from .accumulators import Accumulate, Rfactor
from .expand import Expand
from .inline import Inline
from .loops import Bind, Collapse, Fission, Fuse, Rename, Reorder, Split, Unroll
from .merge import Merge
from .overlap import Pipeline
from .patterns import Online, Tensorize
from .staging import SetSpace, Stage, Unguard
from .step import Step
from .when import Section, When, sections

STEPS: dict[str, type[Step]] = {
    "split": Split,
    "reorder": Reorder,
    "fission": Fission,
    "fuse": Fuse,
    "collapse": Collapse,
    "unroll": Unroll,
    "bind": Bind,
    "rename": Rename,
    "accumulate": Accumulate,
    "rfactor": Rfactor,
    "expand": Expand,
    "stage": Stage,
    "unguard": Unguard,
    "set_space": SetSpace,
    "inline": Inline,
    "online": Online,
    "tensorize": Tensorize,
    "pipeline": Pipeline,
    "merge": Merge,
    "when": When,
}
NAMES = {cls: name for name, cls in STEPS.items()}
MANY = "tuple[str, ...]"

Script = tuple[Step, ...]


def apply(program: Program, script: str | Script, check: bool = True) -> Program:
    """Run the steps of `script` on `program`, which must be legal. Raises ParseError or IllegalStep.

    `check=False` leaves out the verifier after each step, for a caller that verifies the result itself.
    """
    common, parts = sections(parse_script(script) if isinstance(script, str) else script)
    for step in common:
        program = run_step(program, step, check)
    return _dispatch(program, parts, check) if parts else program


def _dispatch(program: Program, parts: tuple[Section, ...], check: bool) -> Program:
    """A variant for each section; that the ranges are total and disjoint is always verified."""
    dim = next((d for d in program.dims if d.name == parts[0].dim), None)
    if dim is None or program.dispatch:
        known = ", ".join(d.name for d in program.dims)
        raise IllegalStep(f"when({parts[0].dim}, ..): not a dim that this program can be divided by", hint=f"dims: {known}")
    made = []
    for part in parts:
        variant = replace(program, dims=tuple(narrowed(d, part.ranges) if d is dim else d for d in program.dims))
        for step in part.steps:
            variant = run_step(variant, step, check)
        made.append(Variant(part.ranges, variant))
    out = dispatching(program, dim.name, made)
    try:
        verify(out, "dispatch")
    except (IllegalProgram, TypeMismatch) as e:
        raise IllegalStep(f"these sections would break the rule {e.message}", hint=e.hint, place=e.place) from None
    return out


def run_step(program: Program, step: Step, check: bool = True) -> Program:
    """One step, the program after it verified."""
    try:
        out = step.apply(program)
    except IllegalStep as e:
        raise IllegalStep(f"{print_step(step)}: {e.message}", hint=e.hint, place=e.place) from None
    if not check:
        return out
    try:
        verify(out, step.stage)
    except (IllegalProgram, TypeMismatch) as e:
        raise IllegalStep(f"{print_step(step)} would break the rule {e.message}", hint=e.hint, place=e.place) from None
    return out


# ------------------------------------------------------------------------------------------------ print
def print_script(script: Script) -> str:
    """Text of a script: `parse_script(print_script(s)) == s`."""
    return "; ".join(print_step(s) for s in script)


def print_step(step: Step) -> str:
    args: list[str] = []
    positional = True
    declared = fields(step)
    for f in declared:
        value = getattr(step, f.name)
        if f.default is not MISSING and value == f.default:
            positional = False
        elif f.type == MANY and len(declared) == 1:
            args += value
        else:
            args.append(_print_value(value) if positional else f"{f.name}={_print_value(value)}")
    return f"{NAMES[type(step)]}({', '.join(args)})"


def _print_value(value: object) -> str:
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else f"({', '.join(value)})"
    return str(value)


# ------------------------------------------------------------------------------------------------ parse
def parse_script(text: str) -> Script:
    """Script text to steps. Raises ParseError with the place underlined."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        line = (getattr(e, "lineno", None) or 1) - 1
        raise ParseError(f"script line {line + 1}: {getattr(e, 'msg', e)}", place=Place(text, line)) from None
    return tuple(_parse_step(n, text) for n in tree.body)


def _fail(n: ast.AST, text: str, message: str, hint: str = "") -> ParseError:
    line = getattr(n, "lineno", 1) - 1
    return ParseError(
        message, hint=hint, place=Place(text, line, getattr(n, "col_offset", 0), getattr(n, "end_col_offset", -1))
    )


def _parse_step(n: ast.stmt, text: str) -> Step:
    call = n.value if isinstance(n, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise _fail(n, text, "expected a step such as split(i, 16)", "steps: " + ", ".join(STEPS))
    cls = STEPS.get(call.func.id)
    if cls is None:
        raise _fail(call.func, text, f"`{call.func.id}` is not a step", suggest(call.func.id, STEPS) + "steps: " + ", ".join(STEPS))
    declared = fields(cls)
    if len(declared) == 1 and declared[0].type == MANY:
        if call.keywords or not call.args:
            raise _fail(call, text, f"{call.func.id} takes a list of names")
        return cls(tuple(_name(a, text) for a in call.args))  # type: ignore[call-arg]
    return cls(**_arguments(call, declared, text))


def _arguments(call: ast.Call, declared: tuple, text: str) -> dict[str, object]:
    by_name = {f.name: f for f in declared}
    if len(call.args) > len(declared):
        raise _fail(
            call, text, f"{ast.unparse(call.func)} takes {len(declared)} arguments at most", "arguments: " + ", ".join(by_name)
        )
    given = {f.name: a for f, a in zip(declared, call.args)}
    for k in call.keywords:
        if k.arg not in by_name or k.arg in given:
            near = suggest(k.arg or "", by_name.keys() - given.keys())
            raise _fail(call, text, f"`{k.arg}` is not an argument here or is given twice", near + "arguments: " + ", ".join(by_name))
        given[k.arg] = k.value
    for f in declared:
        if f.name not in given and f.default is MISSING:
            raise _fail(call, text, f"`{f.name}` is missing", "arguments: " + ", ".join(by_name))
    return {name: _value(a, by_name[name].type, text) for name, a in given.items()}


def _value(n: ast.expr, kind: object, text: str) -> object:
    if kind == "int":
        if isinstance(n, ast.Constant) and isinstance(n.value, int) and not isinstance(n.value, bool):
            return n.value
        raise _fail(n, text, "expected a number")
    if kind == MANY:
        return tuple(_name(x, text) for x in (n.elts if isinstance(n, ast.Tuple) else [n]))
    return _name(n, text)


def _name(n: ast.expr, text: str) -> str:
    if not isinstance(n, ast.Name):
        raise _fail(n, text, "expected a name")
    return n.id
