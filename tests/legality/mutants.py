"""Weakened checks: the source of the verifier and of the schedule steps comes in, mutants go out, each of which refuses less than the original.

Sites are found in the syntax trees. A condition over a `raise` or a `yield Broken(..)` is made true less often: it is dropped, one of its
alternatives is dropped, a quantifier loses a filter, `<=` becomes `<`, one pair of a compared tuple is left out. A call made for its refusal
alone is dropped. Functions that decide without raising are named in `DECIDES` with the direction in which they accept.
A mutant is applied by swapping the code object of the one function it changes, so that no module is imported twice.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType

from warploom.ir.verify import RULES, STAGES
from warploom.passes.schedule.script import STEPS

RULE_MODULES = ("ir.verify", "ir.typing", "ir.bounds", "ir.defined", "ir.dependence", "ir.coverage", "ir.prove")
_OF_STEPS = {cls.__module__.removeprefix("warploom.") for cls in STEPS.values()}
STEP_MODULES = tuple(sorted(_OF_STEPS | {"passes.schedule.step", "passes.schedule.initial"}))
PERMITS, FINDS, GIVES = "permits", "finds", "gives"
DECIDES = {
    "ir.dependence": {
        "commutes": PERMITS, "_one_scan": PERMITS, "_plainly_separated": PERMITS, "_one_form": PERMITS, "separated": PERMITS,
        "conflict": FINDS, "meeting": FINDS, "crossed": FINDS, "independent_of_order": FINDS,
    },
    "ir.bounds": {"_plainly": PERMITS, "_proved": PERMITS, "out_of_bounds": FINDS},
    "ir.defined": {"_Walk.defined": PERMITS, "_Walk.body": FINDS},
    "ir.coverage": {"covered": PERMITS, "_together": PERMITS, "_Solver.dim": PERMITS, "_Solver.digits": PERMITS},
    "ir.prove": {"Problem.integral": PERMITS, "Problem._positive": PERMITS, "implied": PERMITS},
    "ir.typing": {"floating": PERMITS, "integral": PERMITS},
    "passes.schedule.loops": {"_divides": PERMITS, "Fuse._match": PERMITS},
    "passes.schedule.initial": {
        "_join": GIVES, "_last_use": GIVES, "_sets_identity": PERMITS, "_same_number": PERMITS, "_once": PERMITS, "_same_elements": PERMITS,
    },
    "passes.schedule.expand": {"_Tile._sinks": PERMITS},
    "passes.schedule.staging": {
        "_Plan.private": PERMITS, "_Plan.drops": PERMITS, "_Plan._unseen": PERMITS, "_Plan._same_condition": PERMITS,
        "_Plan._zero": PERMITS, "_Plan._is_filled": PERMITS, "_is_fill": PERMITS, "_is_plain": PERMITS,
    },
    "passes.schedule.patterns": {"_match_statement": PERMITS, "_match": PERMITS},
}  # fmt: skip
"""Functions whose result accepts or refuses. permits: True accepts; finds: what it returns or yields is a violation; gives: None refuses."""


@dataclass(frozen=True)
class Mutant:
    """One weakened check. `name` is stable as long as the function's text is: module:function:what."""

    name: str
    module: str
    function: str
    what: str
    lines: tuple[int, int] = (0, 0)  # of the statement that it changes
    code: CodeType | None = field(default=None, compare=False, repr=False)
    rule: tuple[str, str] | None = None  # (stage, rule) that is left out

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The weakened check is in force inside the block."""
        if self.rule is not None:
            stage, rule = self.rule
            before = STAGES[stage]
            STAGES[stage] = tuple(r for r in before if r != rule)
            try:
                yield
            finally:
                STAGES[stage] = before
            return
        assert self.code is not None
        f = function(self.module, self.function)
        original = f.__code__
        forget = _caches(self.module)
        forget()
        f.__code__ = self.code
        try:
            yield
        finally:
            f.__code__ = original
            forget()


def mutants() -> list[Mutant]:
    """All of them, rules left out first."""
    out = [
        Mutant(f"ir.verify:STAGES:{stage} without {rule}", "ir.verify", "STAGES", f"{stage} without {rule}", rule=(stage, rule))
        for stage in ("kernel", "naive", "structure")
        for rule in STAGES[stage]
        if rule in RULES and (stage != "naive" or rule not in STAGES["kernel"])
    ]
    for name in (*RULE_MODULES, *STEP_MODULES):
        out += _Module(name).mutants()
    return out


def function(module: str, qualname: str) -> FunctionType:
    """The function object of a name such as `Split.apply`, behind properties and caches."""
    found: object = importlib.import_module(f"warploom.{module}")
    for part in qualname.split("."):
        found = inspect.getattr_static(found, part)
    for inner in ("fget", "func", "__wrapped__"):
        found = getattr(found, inner, None) or found
    assert isinstance(found, FunctionType), qualname
    return found


def _caches(module: str):
    """Clears what the module remembers between calls."""
    held = [v for v in vars(importlib.import_module(f"warploom.{module}")).values() if hasattr(v, "cache_clear")]
    return lambda: [v.cache_clear() for v in held]


# ------------------------------------------------------------------------------------------------ sites
Edit = tuple[ast.AST, str, int | None, ast.AST, str]
"""(parent, field, position in a list, what stands there instead, description)"""


class _Module:
    """The tree of one module and the edits that weaken it."""

    def __init__(self, name: str):
        self.name = name
        self.module: ModuleType = importlib.import_module(f"warploom.{name}")
        self.file = inspect.getsourcefile(self.module) or ""
        with open(self.file) as f:
            self.tree = ast.parse(f.read())
        self.functions = dict(_functions(self.tree))
        self.checkers = _checkers()

    def mutants(self) -> list[Mutant]:
        out: list[Mutant] = []
        for qualname, node in self.functions.items():
            count: dict[str, int] = {}
            for statement, edit in self.edits(qualname, node):
                what = edit[4]
                count[what] = count.get(what, 0) + 1
                number = f" #{count[what]}" if count[what] > 1 else ""
                name = f"{self.name}:{qualname}:{what}{number}"
                lines = statement.lineno, statement.end_lineno or statement.lineno
                out.append(Mutant(name, self.name, qualname, what + number, lines, self.compiled(qualname, edit)))
        return out

    def compiled(self, qualname: str, edit: Edit) -> CodeType:
        parent, place, k, new, _ = edit
        held = getattr(parent, place)
        old = held if k is None else held[k]
        _put(parent, place, k, new)
        try:
            code = compile(ast.fix_missing_locations(self.tree), self.file, "exec")
        finally:
            _put(parent, place, k, old)
        return _code(code, qualname)

    def edits(self, qualname: str, node: ast.FunctionDef) -> Iterator[tuple[ast.stmt, Edit]]:
        mode = DECIDES.get(self.name, {}).get(qualname)
        for parent in ast.walk(node):
            for place, body in _bodies(parent):
                for k, s in enumerate(body):
                    if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and _called(s.value) in self.checkers:
                        yield s, (parent, place, k, ast.copy_location(ast.Pass(), s), f"no `{_text(s)}`")
                    if isinstance(s, ast.If):
                        want = _direction(s, mode)
                        if want is not None:
                            yield from ((s, e) for e in self.weaker(node, s, "test", None, want))
                    if isinstance(s, ast.Return) and mode == PERMITS and s.value is not None and not isinstance(s.value, ast.Constant):
                        yield from ((s, e) for e in self.weaker(node, s, "value", None, True))

    def weaker(self, f: ast.FunctionDef, parent: ast.AST, place: str, k: int | None, want: bool, whole: bool = True) -> Iterator[Edit]:
        """Edits that make the expression there come out `want` more often."""
        held = getattr(parent, place)
        e = held if k is None else held[k]
        if whole:
            yield parent, place, k, ast.copy_location(ast.Constant(want), e), f"`{_text(e)}` is {want}"
        if isinstance(e, ast.BoolOp):
            loose = isinstance(e.op, ast.And) is want  # an operand of it may be dropped
            for q in range(len(e.values)):
                yield from self.weaker(f, e, "values", q, want, whole=loose)
        elif isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not):
            yield from self.weaker(f, e, "operand", None, not want, whole=False)
        elif isinstance(e, ast.Call) and _called(e) in ("any", "all") and isinstance(e.args[0], (ast.GeneratorExp, ast.ListComp)):
            yield from self.quantifier(f, e, want)
        elif isinstance(e, ast.Compare):
            yield from _comparison(parent, place, k, e, want)
        elif isinstance(e, ast.Name):
            yield from self.assigned(f, e.id, want)

    def quantifier(self, f: ast.FunctionDef, call: ast.Call, want: bool) -> Iterator[Edit]:
        inner = call.args[0]
        assert isinstance(inner, (ast.GeneratorExp, ast.ListComp))
        if (_called(call) == "all") is want:
            yield from self.weaker(f, inner, "elt", None, want, whole=False)
            for g in inner.generators:
                for q in range(len(g.ifs)):
                    yield from self.weaker(f, g, "ifs", q, False, whole=False)

    def assigned(self, f: ast.FunctionDef, name: str, want: bool) -> Iterator[Edit]:
        """A condition that was given a name before."""
        for s in ast.walk(f):
            if isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name) and s.targets[0].id == name:
                if isinstance(s.value, (ast.BoolOp, ast.Compare)):
                    yield from self.weaker(f, s, "value", None, want, whole=False)
                elif isinstance(s.value, (ast.ListComp, ast.SetComp)) and not want:
                    for g in s.value.generators:
                        for q in range(len(g.ifs)):
                            yield from self.weaker(f, g, "ifs", q, False, whole=False)


def _comparison(parent: ast.AST, place: str, k: int | None, e: ast.Compare, want: bool) -> Iterator[Edit]:
    if len(e.ops) > 1:
        if want:
            for q in range(len(e.ops)):
                kept = [(o, c) for n, (o, c) in enumerate(zip(e.ops, e.comparators)) if n != q]
                new = ast.Compare(e.left, [o for o, _ in kept], [c for _, c in kept])
                yield parent, place, k, ast.copy_location(new, e), f"`{_text(e)}` -> `{_text(new)}`"
        return
    op, right = e.ops[0], e.comparators[0]
    softer = {True: {ast.Lt: ast.LtE, ast.Gt: ast.GtE}, False: {ast.LtE: ast.Lt, ast.GtE: ast.Gt}}[want].get(type(op))
    if softer is not None:
        new = ast.Compare(e.left, [softer()], [right])
        yield parent, place, k, ast.copy_location(new, e), f"`{_text(e)}` -> `{_text(new)}`"
    pairs = isinstance(e.left, ast.Tuple) and isinstance(right, ast.Tuple) and len(e.left.elts) == len(right.elts)
    if pairs and isinstance(op, ast.Eq if want else ast.NotEq):
        for q in range(len(e.left.elts)):  # type: ignore[attr-defined]
            sides = [ast.Tuple([x for n, x in enumerate(t.elts) if n != q], ast.Load()) for t in (e.left, right)]  # type: ignore[attr-defined]
            new = ast.Compare(sides[0], [op], [sides[1]])
            yield parent, place, k, ast.copy_location(new, e), f"`{_text(e)}` -> `{_text(new)}`"


def _direction(s: ast.If, mode: str | None) -> bool | None:
    """Which outcome of the condition refuses less; None where it decides nothing."""
    if s.orelse:
        return None
    if _only_refuses(s.body):
        return False
    last = s.body[-1]
    if len(s.body) != 1 or mode is None:
        return None
    if mode == FINDS:
        if isinstance(last, ast.Continue):
            return True
        if isinstance(last, ast.Return):
            return isinstance(last.value, ast.Constant) and last.value.value is None
        return False if isinstance(last, (ast.AugAssign, ast.Assign)) else None
    if isinstance(last, ast.Return) and isinstance(last.value, ast.Constant):
        return last.value.value is True if mode == PERMITS else False
    return None


def _only_refuses(body: list[ast.stmt]) -> bool:
    """The statements raise or yield a violation, perhaps under more conditions, and do nothing else."""
    refuses = False
    for s in body:
        if isinstance(s, ast.Raise) or (isinstance(s, ast.Expr) and isinstance(s.value, (ast.Yield, ast.YieldFrom))):
            refuses = True
        elif isinstance(s, (ast.If, ast.For)):
            refuses = _only_refuses(s.body) or refuses
            if not _only_refuses(s.body):
                return False
        elif not isinstance(s, (ast.Assign, ast.AnnAssign)):
            return False
    return refuses


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for s in tree.body:
        if isinstance(s, ast.FunctionDef):
            yield s.name, s
        elif isinstance(s, ast.ClassDef):
            yield from ((f"{s.name}.{m.name}", m) for m in s.body if isinstance(m, ast.FunctionDef))


_FOUND: set[str] = set()


def _checkers() -> set[str]:
    """Names of functions that only check: they raise, themselves or through others, and return nothing."""
    if not _FOUND:
        for name in (*RULE_MODULES, *STEP_MODULES):
            with open(inspect.getsourcefile(importlib.import_module(f"warploom.{name}")) or "") as f:
                for qualname, node in _functions(ast.parse(f.read())):
                    if isinstance(node.returns, ast.Constant) and node.returns.value is None:
                        _FOUND.add(qualname.split(".")[-1])
    return _FOUND - {"__init__"}


def _bodies(n: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for place in ("body", "orelse", "finalbody"):
        body = getattr(n, place, None)
        if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
            yield place, body


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _put(parent: ast.AST, place: str, k: int | None, new: ast.AST) -> None:
    if k is None:
        setattr(parent, place, new)
    else:
        getattr(parent, place)[k] = new


def _text(n: ast.AST) -> str:
    return " ".join(ast.unparse(n).split())


def _code(code: CodeType, qualname: str) -> CodeType:
    for c in code.co_consts:
        if isinstance(c, CodeType):
            if c.co_qualname == qualname:
                return c
            if qualname.startswith(c.co_qualname + "."):
                return _code(c, qualname)
    raise LookupError(qualname)
