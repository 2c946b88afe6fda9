"""A Relax module as a CUDA program without a GPU: fused, scheduled by dlight, printed by TVM; kernels in launch order with what each argument is.

Goes out: plain data (`Lowered`), which crosses to the process that asked. Needs TVM.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import Untranslated
from .library import build, ffi, gpu, relax, tirx, tvm
from .scalar import HELPERS
from .translate import PADDED

ARCH = "sm_80"
_LIMITS = {
    "max_num_threads": 1024, "max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32, "registers_per_block": 65536,
}  # fmt: skip
_GRID = {"blockIdx.x": 0, "blockIdx.y": 1, "blockIdx.z": 2}
_BLOCK = {"threadIdx.x": 0, "threadIdx.y": 1, "threadIdx.z": 2}
_OPAQUE = 8
_SHARED = "tirx.use_dyn_shared_memory"


@dataclass(frozen=True)
class Launched:
    """One launch; `args` name buffers."""

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    args: tuple[str, ...]


@dataclass
class Lowered:
    """`buffers`: name -> (TVM dtype, shape), those of the graph by the graph's names; `rules`: function -> the dlight rule that scheduled it;
    `functions`: function -> its text before the schedule; `kernels`: kernel -> (its function, its text)."""

    prelude: list[str] = field(default_factory=list)
    kernels: dict[str, tuple[str, str]] = field(default_factory=dict)
    launches: list[Launched] = field(default_factory=list)
    buffers: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)


def lower(module: Any, outputs: Sequence[str]) -> Lowered:
    """`outputs`: names of what `main` gives. Raises Untranslated where dlight has no schedule or a result is no kernel's."""
    fused = _fused(module)
    out = Lowered(functions={v.name_hint: f.script(show_meta=False) for v, f in _functions(fused)})
    target = tvm.target.Target({"kind": "cuda", "arch": ARCH, **_LIMITS}).with_host("llvm")
    calls = _calls(fused, outputs)
    made = {v.name_hint: _made(f, target, out.rules, v.name_hint) for v, f in _functions(fused)}
    for name, args, types in calls:
        function = made[name]
        out.buffers.update(zip(args, types))
        own = {}
        for n, (inner, kind) in enumerate(function.inner.items()):
            own[inner] = f"{name}_{inner}" if f"{name}_{inner}" not in out.buffers else f"{name}_{inner}_{len(out.buffers) + n}"
            out.buffers[own[inner]] = kind
        place = dict(zip(function.params, args)) | own
        out.launches += [Launched(x.kernel, x.grid, x.block, x.shared_bytes, tuple(place[a] for a in x.args)) for x in function.launches]
        out.kernels.update({k: (name, text) for k, text in function.kernels.items()})
        out.prelude += [line for line in function.prelude if line not in out.prelude]
    return out


def _fused(module: Any) -> Any:
    passes = relax.transform
    module = passes.AnnotateTIROpPattern()(module)
    for v, function in list(_functions(module)):
        if v.name_hint.startswith(PADDED):
            module[v] = function.with_attr("op_pattern", _OPAQUE)
    return tvm.transform.Sequential([passes.FuseOps(), passes.FuseTIR(), passes.DeadCodeElimination()])(module)


def _functions(module: Any) -> Iterator[tuple[Any, Any]]:
    return ((v, f) for v, f in module.functions.items() if isinstance(f, tirx.PrimFunc))


# ------------------------------------------------------------------------------------------------ what calls what
def _calls(module: Any, outputs: Sequence[str]) -> list[tuple[str, list[str], list[tuple[str, list[int]]]]]:
    """(function, names of its arguments, their types) for each call of `main` in order; results are named like `outputs`, others t0, t1, .."""
    main = module["main"]
    names: dict[Any, Any] = {p: p.name for p in main.params}
    bindings = [b for block in main.body.blocks for b in block.bindings]
    wanted = _results(main, bindings)
    aliases: dict[Any, Any] = {}
    calls: list[tuple[str, list[str], list]] = []
    taken = {*names.values(), *outputs}
    given = dict(zip(wanted, outputs))
    for b in bindings:
        value = b.value
        if isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.call_tir":
            parts = list(value.ty_args[0].fields) if isinstance(value.ty_args[0], relax.TupleType) else [value.ty_args[0]]
            made = [given.get((b.var, k)) or _fresh(taken) for k in range(len(parts))]
            names[b.var] = made if isinstance(value.ty_args[0], relax.TupleType) else made[0]
            args = [*(_name(names, a) for a in value.args[1].fields), *made]
            types = [_type(a.ty) for a in value.args[1].fields] + [_type(p) for p in parts]
            calls.append((value.args[0].name_hint, args, types))
        elif isinstance(value, (relax.Var, relax.TupleGetItem, relax.Tuple)):
            aliases[b.var] = value
            names[b.var] = _name(names, value)
        else:
            raise Untranslated(f"TVM keeps a call of its runtime: {str(value)[:80]}")
    made_by_kernels = {a for _, args, _ in calls for a in args}
    missing = [o for o in outputs if o not in made_by_kernels]
    if missing or len(set(wanted)) < len(outputs):
        raise Untranslated(f"{(missing or list(outputs))[0]} is no kernel's own result in TVM's program")
    return calls


def _results(main: Any, bindings: Sequence[Any]) -> list[tuple[Any, int]]:
    """(variable of a call, number of its result) for each result of `main`."""
    values = {b.var: b.value for b in bindings}

    def found(e: Any, part: int = 0) -> tuple[Any, int]:
        if isinstance(e, relax.TupleGetItem):
            inner = _resolved(values, e.tuple_value)
            return found(inner.fields[e.index]) if isinstance(inner, relax.Tuple) else (inner, e.index)
        if isinstance(e, relax.Var) and isinstance(values.get(e), (relax.Var, relax.TupleGetItem)):
            return found(values[e])
        return e, part

    result = _resolved(values, main.body.body)
    return [found(f) for f in result.fields]


def _resolved(values: Mapping[Any, Any], e: Any) -> Any:
    while isinstance(e, relax.Var) and isinstance(values.get(e), (relax.Var, relax.Tuple)):
        e = values[e]
    return e


def _fresh(taken: set[str]) -> str:
    name = next(n for k in range(len(taken) + 1) if (n := f"t{k}") not in taken)
    taken.add(name)
    return name


def _name(names: Mapping[Any, Any], e: Any) -> Any:
    if isinstance(e, relax.TupleGetItem):
        return names[e.tuple_value][e.index]
    if isinstance(e, relax.Tuple):
        return [_name(names, f) for f in e.fields]
    return names[e]


def _type(t: Any) -> tuple[str, list[int]]:
    return str(t.dtype), [int(d) for d in t.shape]


# ------------------------------------------------------------------------------------------------ one function
def _made(function: Any, target: Any, rules: dict[str, str], name: str) -> _Function:
    """Under the first rule of dlight that applies and whose result TVM lowers."""
    refused = ""
    for rule in (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback()):
        scheduled = _scheduled(rule, function, target)
        if scheduled is None:
            continue
        try:
            made = _Function(name, scheduled, target)
        except Untranslated as error:
            refused = error.message
            continue
        rules[name] = type(rule).__name__
        return made
    raise Untranslated(refused or f"dlight has no schedule for {name}")


def _scheduled(rule: Any, function: Any, target: Any) -> Any | None:
    """Loops stay loops: unrolled text is unreadable, and a compiler unrolls by itself. None where the rule does not apply, or trips."""
    try:
        with target:
            made = rule.apply(function, target, False)
    except (AssertionError, RuntimeError, ValueError, IndexError, TypeError, AttributeError):
        return None
    if made is None:
        return None
    schedule = made[0] if isinstance(made, list) else made
    return ffi.structural_map(schedule.mod["main"], [(tirx.For, _rolled)])


def _rolled(loop: Any) -> Any:
    if not any(str(k).startswith("pragma_") for k in loop.annotations):
        return loop
    kept = {k: v for k, v in loop.annotations.items() if not str(k).startswith("pragma_")}
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, loop.body, loop.thread_binding, kept)


class _Function:
    """The kernels of one function: `params` its buffers in order, `inner` what it allocates itself, launches by these names."""

    def __init__(self, name: str, function: Any, target: Any):
        self.params = [p.name for p in function.params]
        module = tvm.IRModule({name: function.with_attr("global_symbol", name)})
        pipeline, _, finish = tirx.get_tir_pipeline("s_tir")
        try:
            with tvm.transform.PassContext(config={"tirx.disable_cse_tir": True}):
                module = pipeline(tirx.transform.BindTarget(target)(module))
        except (RuntimeError, ValueError, TypeError, tvm.error.InternalError) as error:
            raise Untranslated(f"TVM does not lower {name}: {_first_line(error)}") from None
        host, devices = build.split_host_device_mods(module)
        self.inner: dict[str, tuple[str, list[int]]] = {}
        self.launches: list[Launched] = []
        for entry in host.functions.values():
            ffi.structural_walk(entry.body, [(tirx.AllocBuffer, self._allocated), (tvm.ir.Call, self._called)])
        source = "".join(_printed(finish()(part), t) for t, part in devices.items())
        self.prelude, self.kernels = _parts(source)
        names = [*self.params, *self.inner]
        if len(set(names)) < len(names) or any(a not in names for x in self.launches for a in x.args):
            raise Untranslated(f"the arguments of {name} cannot be told apart")

    def _allocated(self, node: Any) -> None:
        b = node.buffer
        self.inner[b.name] = (str(b.dtype), [int(d) for d in b.shape])

    def _called(self, node: Any) -> None:
        if getattr(node.op, "name", "") != "tirx.call_ffi_kernel":
            return
        labels = [str(p) for p in node.attrs.launch_params]
        kernel, *args = node.args
        values = args[len(args) - len(labels) :]
        grid, block, shared = [1, 1, 1], [1, 1, 1], 0
        for label, value in zip(labels, values):
            if label in _GRID:
                grid[_GRID[label]] = int(value)
            elif label in _BLOCK:
                block[_BLOCK[label]] = int(value)
            elif label == _SHARED:
                shared = int(value)
            else:
                raise Untranslated(f"TVM's launch has {label}")
        pointers = tuple(a.args[0].name for a in args[: len(args) - len(labels)])
        self.launches.append(Launched(kernel.value, tuple(grid), tuple(block), shared, pointers))


def _first_line(error: Exception) -> str:
    lines = [x.strip() for x in str(error).splitlines() if x.strip(" ^~|")]
    return (lines or ["no message"])[-1][:200]


def _printed(module: Any, target: Any) -> str:
    """TVM's CUDA C++. TVM would call nvcc or NVRTC then: a stand-in answers."""
    tvm.register_global_func("tvm_callback_cuda_compile", lambda code, *_: b"", override=True)
    return tvm.get_global_func("target.build.cuda")(module, target).inspect_source()


_KERNEL = re.compile(r'^extern "C" __global__ void .*?\)(?P<end>;| \{)', re.MULTILINE)
_HEX = re.compile(r"(?P<sign>-?)0x(?P<digits>[0-9a-f.]+p[+-]\d+)(?P<suffix>f?)/\*[^*]*\*/")
_KEYWORDS = re.findall(
    r"\w+",
    "auto bool case catch char const default delete do double enum explicit export extern float friend goto half inline int long mutable namespace new operator "
    "private protected public register short signed sizeof static struct switch template this throw try typedef typename union unsigned using virtual void volatile",
)
_CONSTANTS = {
    "CUDART_INF_F": "__int_as_float(0x7f800000)", "CUDART_NAN_F": "__int_as_float(0x7fffffff)", "CUDART_INF": "__longlong_as_double(0x7ff0000000000000LL)",
    "CUDART_NAN": "__longlong_as_double(0x7fffffffffffffffLL)",
}  # fmt: skip
_WORDS = {"int64_t": "long long", "uint": "unsigned int", "uchar": "unsigned char", "ushort": "unsigned short", **_CONSTANTS}


def _parts(source: str) -> tuple[list[str], dict[str, str]]:
    """Lines that must stand before the kernels, and the text of each kernel."""
    heads = [m for m in _KERNEL.finditer(source) if m["end"] != ";"]
    kernels: dict[str, str] = {}
    for m, after in zip(heads, [*(h.start() for h in heads[1:]), len(source)]):
        text = source[m.start() : after].strip()
        name = re.search(r"(\w+)\(", re.sub(r"__launch_bounds__\(\d+\)", "", m[0]))
        assert name is not None
        kernels[name[1]] = _readable(text)
    whole = "\n".join(kernels.values())
    prelude = [f"#include <{h}>" for h, word in (("cuda_fp16.h", "half"),) if re.search(rf"\b{word}", whole)]
    prelude += [text for name, text in HELPERS.items() if re.search(rf"\b{name}\(", whole)]
    return prelude, kernels


def _readable(text: str) -> str:
    """Constants in decimal, to the bit; four spaces a level; no types of headers that NVRTC lacks; parameters without TVM's suffix."""
    text = re.sub(rf"\b({'|'.join(_WORDS)})\b", lambda m: _WORDS[m[1]], _HEX.sub(_decimal, text))
    text = re.sub(r"^( +)", lambda m: m[1] * 2, text, flags=re.MULTILINE)
    words = {*re.findall(r"(?<![.\w])\w+", text), *_KEYWORDS}
    return re.sub(r"\b(\w+)_ptr\b", lambda m: m[1] if m[1] not in words else m[0], text)


def _decimal(m: re.Match[str]) -> str:
    value = float.fromhex(f"{m['sign']}0x{m['digits']}")
    if not math.isfinite(value):
        return m[0]
    if not m["suffix"]:
        return repr(value)
    return f"{np.float32(value)}f"
