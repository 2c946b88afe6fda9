"""A warploom program (Kernel text, scheduled or with its schedule) as a candidate comes in, a maker that builds and runs it goes out.

The CPU backend prints it; what it only reads are the task's inputs and state in order, what it writes the task's outputs in order. A
first line `# schedule: split(i, 8)` is applied before.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..backends.cpu.build import INCLUDE
from ..backends.cpu.host import host
from ..backends.cpu.isa import by_name
from ..backends.cpu.printer import THREADS, scratch_bytes, translation_unit
from ..frontend.dtypes import DTYPE
from ..ir.diagnostic import WarploomError
from ..ir.expr import Const, Var, as_int, substitute
from ..ir.interpret import shape_of
from ..ir.kernel import Buffer, Program
from ..ir.text import parse_program
from ..ir.verify import verify
from ..passes.schedule.script import apply
from . import native
from .build import Library, NotBuilt, build
from .candidate import Candidate
from .contained import Contained
from .sandbox import Sandbox
from .signature import Argument, Signature
from .verdict import Finding

_SCHEDULE = re.compile(r"^# schedule: (.*)$", re.M)
_IR_DTYPE = {str(k).removeprefix("torch."): v for k, v in DTYPE.items()}
_ENTRY = """
#include <cstdlib>
namespace {{
struct Any {{
    void* data;
    template <class T> operator T*() const {{ return static_cast<T*>(data); }}
}};
struct Block {{
    char* data = nullptr;
    long size = 0;
    char* grown(long wanted) {{
        if (wanted > size) {{
            std::free(data);
            size = (wanted + 4095) / 4096 * 4096;
            data = static_cast<char*>(std::aligned_alloc(4096, size));
            if (!data) std::abort();
        }}
        return data;
    }}
    ~Block() {{ std::free(data); }}
}};
}}  // namespace

extern "C" void kernel({head}) {{
    static thread_local Block block;
    const long threads = omp_get_max_threads();
    (void)threads;
    wl::{name}({passed});
}}
"""


class ProgramMaker:
    """A warploom program on the CPU."""

    collects = False
    watches_calls = False
    stirs = True

    def __init__(self, candidate: Candidate, sandbox: Sandbox):
        """Raises `NotBuilt` where the text is no legal program."""
        self.sandbox = sandbox
        self.signature: Signature | None = None
        self._built: tuple[str, Library] | None = None
        try:
            program = parse_program(candidate.source)
            script = _SCHEDULE.search(candidate.source)
            verify(program)
            self.program = apply(program, script[1]) if script else program
        except WarploomError as error:
            raise NotBuilt(Finding("compile-error", str(error)[:300])) from None

    def describe(self, description, reference) -> None:
        """Builds the program for the task's call. Raises `NotBuilt`."""
        self.signature = description.signature
        program = replace(self.program, name="wl_program")
        isa = by_name(host().isa)
        try:
            text = translation_unit([program], isa, _entry(program, description.signature))
        except WarploomError as error:
            raise NotBuilt(Finding("compile-error", str(error)[:300])) from None
        if self._built is None or self._built[0] != text:
            flags = " ".join([*isa.flags, f"-I{INCLUDE}"])
            self._built = text, build(text, "c++", self.sandbox, compile_only=flags, read_only=(str(INCLUDE),))

    def start(self, scalars: tuple, slots: int, threads: int) -> Contained:
        """A new process. Raises `contained.Ended`."""
        assert self.signature is not None and self._built is not None
        return native.start(self._built[1], "", self.signature, scalars, slots, threads, self.sandbox)

    def close(self) -> None:
        pass


def _entry(p: Program, signature: Signature) -> str:
    """The judge's `kernel` around the program's function. Raises `NotBuilt` where the params do not fit the call."""
    names = {a: f"a{k}" for k, a in enumerate(signature.arguments)}
    bound = _bound(p, signature)
    sizes = _sizes(p, bound)
    for b in p.params:
        if shape_of(b, sizes) != bound[b.name].shape:
            raise _unfit(b, bound[b.name])
    head = ", ".join(
        f"{'void*' if a.kind == 'tensor' else 'double' if a.kind == 'float' else 'int64_t'} {n}" for a, n in names.items()
    )
    passed = [*(str(sizes[d.name]) for d in p.dims), *(f"Any{{{names[bound[b.name]]}}}" for b in p.params)]
    needs = scratch_bytes(p, by_name(host().isa))
    if needs != Const(0):
        one, two = (
            as_int(substitute(needs, {**{k: Const(n) for k, n in sizes.items()}, THREADS: Const(t)})) or 0 for t in (1, 2)
        )
        passed.append(f"block.grown({2 * one - two} + {two - one} * threads + 64)")
    return _ENTRY.format(head=head, name=p.name, passed=", ".join(passed))


def _bound(p: Program, signature: Signature) -> dict[str, Argument]:
    """Each param's argument."""
    written = set(p.written())
    given = [a for a in signature.of("input", "state") if a.kind == "tensor"]
    reads, writes = [b for b in p.params if b.name not in written], [b for b in p.params if b.name in written]
    made = list(signature.of("output"))
    if len(reads) != len(given) or len(writes) != len(made):
        text = (
            f"it reads {len(reads)} and writes {len(writes)} params; the task has {len(given)} inputs and {len(made)} outputs"
        )
        raise NotBuilt(Finding("wrong-shape", text))
    bound = {b.name: a for b, a in [*zip(reads, given), *zip(writes, made)]}
    for b in p.params:
        if _IR_DTYPE.get(bound[b.name].dtype) != b.dtype or len(b.shape) != len(bound[b.name].shape):
            raise _unfit(b, bound[b.name])
    return bound


def _sizes(p: Program, bound: dict[str, Argument]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for b in p.params:
        for d, n in zip(b.shape, bound[b.name].shape):
            if isinstance(d, Var):
                sizes.setdefault(d.name, n)
    missing = [d.name for d in p.dims if d.name not in sizes]
    if missing:
        raise NotBuilt(Finding("wrong-shape", f"the size of {missing[0]} is the extent of no param"))
    for d in p.dims:
        if sizes[d.name] < d.lo or (d.hi is not None and sizes[d.name] > d.hi):
            raise NotBuilt(Finding("wrong-shape", f"{d.name} is {sizes[d.name]} here, outside of what the program is for"))
    return sizes


def _unfit(b: Buffer, argument: Argument) -> NotBuilt:
    return NotBuilt(
        Finding("wrong-shape", f"`{b.name}` does not fit the task's {argument.name}: {argument.dtype}{list(argument.shape)}")
    )
