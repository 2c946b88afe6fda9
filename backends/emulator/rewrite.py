"""CUDA text to C++ text for the emulator's header, line by line the same.

Comes in: CUDA source. Goes out: C++ in which a kernel keeps its body as a lambda over the thread's place, a launch
`k<<<g, b>>>(x)` is `k(x), ::wl::launch({g, b})`, inline PTX is calls of the header, and `extern __shared__` arrays are pointers; and, per kernel, whether
its threads wait for one another and whether its blocks have an order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .inline_asm import ASM, rewrite_asm
from .parameters import kept
from .tokens import Code, UnreadableCuda


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names whose mention means that threads wait for one another (or see one another's progress).
WAITING = ASM | _words("""
    __syncthreads __syncthreads_and __syncthreads_or __syncthreads_count __syncwarp __barrier_sync __activemask
    __shfl __shfl_up __shfl_down __shfl_xor __shfl_sync __shfl_up_sync __shfl_down_sync __shfl_xor_sync
    __ballot_sync __any_sync __all_sync __uni_sync __match_any_sync __match_all_sync __reduce_add_sync __reduce_min_sync
    __reduce_max_sync __reduce_and_sync __reduce_or_sync __reduce_xor_sync cooperative_groups cub volatile
    this_thread_block tiled_partition coalesced_threads this_grid BlockReduce BlockScan WarpReduce WarpScan wmma
    load_matrix_sync store_matrix_sync mma_sync
    atomicCAS atomicExch __nanosleep assert __trap arrive arrive_and_wait consumer_wait producer_acquire
""")
# Names whose mention means that blocks are run in order, one after the other.
ORDERING = _words("""
    atomicAdd atomicSub atomicMin atomicMax atomicAnd atomicOr atomicXor atomicInc atomicDec atomicExch atomicCAS
    __threadfence __threadfence_system volatile printf assert __trap atomic_ref atomic gpuAtomicAdd gpuAtomicAddNoReturn
    fastAtomicAdd grid_group this_grid
""")
# Names whose mention means that it matters which threads of a warp are at one place.
_IN_STEP = _words("__activemask coalesced_threads __match_any_sync __match_all_sync binary_partition labeled_partition")
# Types of 16 bits, which have constructors in C++ and none that matter on a GPU.
_CONSTRUCTED = _words("half __half half2 __half2 nv_bfloat16 __nv_bfloat16 nv_bfloat162 __nv_bfloat162 Half BFloat16 scalar_t")
_PLACES = frozenset(("threadIdx", "blockIdx", "blockDim", "gridDim"))
_ATTRIBUTES = frozenset(
    ("__launch_bounds__", "__attribute__", "__cluster_dims__", "__maxnreg__", "__align__", "alignas", "decltype")
)
_LAMBDA = "(const ::uint3 threadIdx, const ::uint3 blockIdx, const ::dim3 blockDim, const ::dim3 gridDim)"


@dataclass(frozen=True)
class KernelText:
    """One `__global__` function: its name, whether it waits (fibers) and orders its blocks, 1-based line, launch bound."""

    name: str
    waits: bool
    orders: bool
    line: int
    bound: str = ""
    parameters: str = ""
    template: bool = False


@dataclass(frozen=True)
class Rewritten:
    """C++ text, its kernels, and what the header must provide for it."""

    text: str
    kernels: tuple[KernelText, ...]
    device_index: bool
    volatile: bool
    tensor: bool = False


@dataclass(frozen=True)
class _Body:
    name: str
    start: int
    stop: int


def rewrite(source: str, *, swap_device: bool = False) -> Rewritten:
    """Rewrites one source. `swap_device` also turns checks for CUDA tensors into checks for CPU tensors."""
    code = Code(source)
    volatile = any(t.text == "volatile" for t in code.at)
    kernels = list(_kernels(code))
    bodies = _bodies(code, kernels)
    waiting, ordering = _closure(code, bodies, WAITING), _closure(code, bodies, ORDERING)
    texts = tuple(_describe(code, k, waiting, ordering) for k in kernels)
    device_index = _places_outside(code, kernels)
    tensor = rewrite_asm(code)
    for kernel, text in zip(kernels, texts):
        _rewrite_kernel(code, kernel, text)
    functions = [(b.start, b.stop) for b in bodies] + [(k.body, k.end) for k in kernels]
    if not volatile and _IN_STEP.isdisjoint(t.text for t in code.at):
        _let_others_read(code, functions)
    for i in range(len(code.at)):
        _rewrite_token(code, i, functions, swap_device)
    return Rewritten(code.joined(), texts, device_index, volatile, tensor)


@dataclass(frozen=True)
class _Kernel:
    """Positions of a kernel: `__global__`, its name, its parameter list's parentheses, its body's braces."""

    at: int
    name: int
    close: int
    body: int
    end: int


def _kernels(code: Code) -> Iterator[_Kernel]:
    for i in range(len(code.at)):
        name = _declared_name(code, i + 1) if code.text(i) == "__global__" else None
        if name is None:
            continue
        close = code.find_close(name + 1)
        body = close + 1
        while code.text(body) in _ATTRIBUTES:
            body = code.find_close(body + 1) + 1
        if code.text(body) == "{":
            yield _Kernel(i, name, close, body, code.find_close(body))


def _declared_name(code: Code, i: int) -> int | None:
    """The function name that follows `__global__`: a name before `(` that is no attribute."""
    while i < len(code.at) and code.text(i) not in (";", "{", "}"):
        if code.text(i) in _ATTRIBUTES and code.text(i + 1) == "(":
            i = code.find_close(i + 1) + 1
        elif code.is_name(i) and code.text(i + 1) == "(":
            return i
        else:
            i += 1
    return None


def _bodies(code: Code, kernels: list[_Kernel]) -> list[_Body]:
    """Functions, macros and aliases outside kernels, each a name and the tokens that it stands for."""
    ends = {k.at: k.end for k in kernels}
    found, i = [], 0
    while i < len(code.at):
        if i in ends:
            i = ends[i] + 1
            continue
        body = _body_at(code, i)
        if body:
            found.append(body)
        i += 1
    return found


def _body_at(code: Code, i: int) -> _Body | None:
    word = code.text(i)
    if word == "#" and code.text(i + 1) == "define":
        return _Body(code.text(i + 2), i + 3, code.directive_end(i))
    if word in ("using", "namespace") and code.text(i + 2) == "=":
        return _Body(code.text(i + 1), i + 3, code.find(";", i))
    if word == "typedef":
        stop = code.find(";", i)
        return _Body(code.text(stop - 1), i + 1, stop)
    if code.is_name(i) and code.text(i + 1) == "(":
        return _function_at(code, i)
    return None


def _function_at(code: Code, i: int) -> _Body | None:
    """`name(...) [const noexcept -> T] {...}`."""
    try:
        body = code.find_close(i + 1) + 1
        while code.is_name(body) or code.text(body) in ("->", "::", "*", "&"):
            body += 1
        return _Body(code.text(i), body, code.find_close(body)) if code.text(body) == "{" else None
    except UnreadableCuda:
        return None


def _closure(code: Code, bodies: list[_Body], seeds: frozenset[str]) -> frozenset[str]:
    """The seeds and every function, macro or alias that mentions one of them, directly or not."""
    mentions = [(b.name, code.names(b.start, b.stop)) for b in bodies]
    known = set(seeds)
    grown = True
    while grown:
        fresh = {name for name, words in mentions if name not in known and not known.isdisjoint(words)}
        known |= fresh
        grown = bool(fresh)
    return frozenset(known)


def _describe(code: Code, k: _Kernel, waiting: frozenset[str], ordering: frozenset[str]) -> KernelText:
    words = code.names(k.name + 1, k.end)
    return KernelText(
        name=code.text(k.name),
        waits=not waiting.isdisjoint(words),
        orders=not ordering.isdisjoint(words),
        line=code.at[k.name].line + 1,
        bound=_bound(code, k),
        parameters=code.words(k.name + 2, k.close),
        template=_is_template(code, k.at),
    )


def _bound(code: Code, k: _Kernel) -> str:
    start = _statement_start(code, k.at)
    for i in range(start, k.name):
        if code.text(i) == "__launch_bounds__":
            return code.words(i + 2, code.find_close(i + 1)).split(",")[0].strip()
    return ""


def _statement_start(code: Code, i: int) -> int:
    while i > 0 and code.text(i - 1) not in (";", "}", "{"):
        i -= 1
    return i


def _is_template(code: Code, i: int) -> bool:
    return "template" in code.names(_statement_start(code, i), i)


def _places_outside(code: Code, kernels: list[_Kernel]) -> bool:
    """Whether threadIdx and its like are read outside kernels' own text."""
    inside = 0
    for k in kernels:
        if not _PLACES.isdisjoint(code.names(inside, k.body)):
            return True
        inside = k.end
    return not _PLACES.isdisjoint(code.names(inside, len(code.at)))


def _rewrite_kernel(code: Code, k: _Kernel, text: KernelText) -> None:
    flags = f"{str(text.waits).lower()}, {str(text.orders).lower()}"
    own = "WL_SHARED_PARAMETERS" if kept(code, k.name + 2, k.close, k.body, k.end) else "mutable"
    code.at[k.body].text = f'{{ ::wl::prepare<{flags}>("{text.name}", [=]{_LAMBDA} {own} __attribute__((always_inline)) -> void {{'
    code.at[k.end].text = "WL_REACHED_END; }); }"


def _rewrite_token(code: Code, i: int, functions: list[tuple[int, int]], swap_device: bool) -> None:
    word = code.text(i)
    if word == "<<<":
        _rewrite_launch(code, i)
    elif word == "extern":
        _rewrite_dynamic_shared(code, i, any(start <= i < stop for start, stop in functions) or _in_member_function(code, i))
    elif word == "static" and "__shared__" in (code.text(i - 1), code.text(i + 1)):
        code.at[i].text = ""  # the qualifier itself becomes `static thread_local`
    elif word == "__shared__":
        _without_guard(code, i + 1)
    elif word == "alignas" and code.text(i - 1) == "__shared__":
        code.at[i].text = "__align__"  # an attribute of C++ may not follow `static thread_local`
    elif word == "__noinline__" and code.text(i - 1) != "(":
        code.at[i].text = "__attribute__((noinline))"
    elif word in ("cudaLaunchKernel", "cudaLaunchCooperativeKernel"):
        _keep_kernel_type(code, i + 2)
    elif swap_device:
        _swap_device(code, i)


def _without_guard(code: Code, i: int) -> None:
    """`__shared__ half s[8]`: a type with constructors of which none does anything here; C++ would guard its first use by a flag that the
    checker sees as shared memory. A type that its name does not tell (`T`, `scalar_t`) is taken for one where the source has such types."""
    while code.text(i) in ("static", "const", "volatile", *_ATTRIBUTES):
        i = code.find_close(i + 1) + 1 if code.text(i + 1) == "(" else i + 1
    plain = code.is_name(i) and code.is_name(i + 1)
    if plain and not _CONSTRUCTED.isdisjoint(t.text for t in code.at) and code.text(i) not in _defined_types(code):
        code.at[i].text = f"__constinit {code.text(i)}"


def _defined_types(code: Code) -> frozenset[str]:
    return frozenset(code.text(i + 1) for i in range(len(code.at)) if code.text(i) in ("struct", "class", "union"))


def _rewrite_launch(code: Code, i: int) -> None:
    """`k<<<g, b>>>(x)` -> `k(x), ::wl::launch(::wl::Config(g, b))`."""
    stop = i + 1
    while [code.text(stop + n) for n in range(4)] != [">", ">", ">", "("]:
        if code.text(stop) in ("(", "[", "{"):
            stop = code.find_close(stop)
        stop += 1
        if stop >= len(code.at):
            raise UnreadableCuda(f"line {code.at[i].line + 1}: `<<<` is never closed", place=code.place(i))
    configuration = code.words(i + 1, stop)
    close = code.find_close(stop + 3)
    code.erase(i, stop + 3)
    code.at[close].text += f", ::wl::launch(::wl::Config({configuration}))"


def _in_member_function(code: Code, i: int) -> bool:
    """Whether the innermost braces around a token are those of a function: they follow its parameters."""
    depth = 0
    while i > 0:
        i -= 1
        depth += (code.text(i) == "}") - (code.text(i) == "{")
        if depth < 0:
            return code.text(i - 1) in (")", "const", "noexcept", "override")
    return False


def _rewrite_dynamic_shared(code: Code, i: int, in_function: bool) -> None:
    """`extern __shared__ T s[];` -> `T* const s = ...;`, at namespace scope an object that converts to `T*`."""
    stop, kept = i + 1, []
    while code.text(stop) not in (";", "{", "}", "", "("):
        if code.text(stop) in _ATTRIBUTES:
            stop = code.find_close(stop + 1)
        elif code.text(stop) != "__shared__":
            kept.append(stop)
        stop += 1
    bracket = next((n for n, at in enumerate(kept) if code.text(at) == "["), 0)
    if "__shared__" not in code.names(i, stop) or not bracket:
        return
    element = " ".join(code.text(at) for at in kept[: bracket - 1])
    name = code.text(kept[bracket - 1])
    local = f"{element}* const {name} = static_cast<{element}*>(::wl::dynamic_shared())"
    text = local if in_function else f"static ::wl::DynamicShared<{element}> {name}"
    if not in_function:
        _let_it_be_cast(code, stop, name, element)
    code.erase(i, stop)
    code.at[i].text = text


def _let_it_be_cast(code: Code, start: int, name: str, element: str) -> None:
    """`reinterpret_cast<float4*>(s)` of an array that has become an object."""
    for i in range(start, len(code.at)):
        if code.text(i) == name and code.text(i - 1) in ("(", ")") and code.text(i + 1) in (")", "+", ";", ","):
            code.at[i].text = f"static_cast<{element}*>({name})"


def _keep_kernel_type(code: Code, i: int) -> None:
    """Drops the cast in `cudaLaunchKernel((void*)k, ...)`: the kernel's type says how to read the arguments."""
    if code.text(i) == "(" and "void" in code.names(i, code.find_close(i)):
        code.erase(i, code.find_close(i) + 1)
    elif code.text(i) in ("reinterpret_cast", "static_cast"):
        stop = i
        while code.text(stop) != "(":
            stop += 1
        code.erase(i, stop)


def _let_others_read(code: Code, functions: list[tuple[int, int]]) -> None:
    """`s[i] = v;` -> `::wl::give_way(), s[i] = v;` for shared arrays: on a GPU all threads have read what stands there by the time that the
    first one overwrites it, also where the barrier between is missing."""
    shared = {name for i in range(len(code.at)) if code.text(i) == "__shared__" for name in _shared_names(code, i + 1)}
    for start, stop in functions:
        for i in range(start + 1, stop):
            if code.text(i) not in shared or code.text(i + 1) != "[" or code.text(i - 1) not in (";", "{", "}", ")", "else"):
                continue
            after = i + 1
            while code.text(after) == "[":
                after = code.find_close(after) + 1
            if code.text(after) == "=" and code.text(i - 1) != "extern":
                code.at[i].text = f"::wl::give_way(), {code.text(i)}"


def _shared_names(code: Code, i: int) -> Iterator[str]:
    """The arrays that a declaration behind `__shared__` names."""
    while code.text(i) not in (";", "", "{", "}"):
        if code.text(i) == "(":
            i = code.find_close(i)
        elif code.is_name(i) and code.text(i + 1) == "[":
            yield code.text(i)
        i += 1


_SWAPPED = {"is_cuda": "is_cpu", "is_cpu": "is_cuda", "kCUDA": "kCPU"}


def _swap_device(code: Code, i: int) -> None:
    token = code.at[i]
    if token.text in _SWAPPED:
        token.text = _SWAPPED[token.text]
        if [code.text(i - n) for n in range(5, 0, -1)] == [".", "type", "(", ")", "."]:  # `x.type().is_cuda()`, the old way
            code.erase(i - 5, i - 1)
    elif token.text == "CUDA" and code.text(i - 1) == "::" and code.text(i - 2) == "DeviceType":
        token.text = "CPU"
    elif token.text.startswith('"cuda') and code.text(i - 1) == "(" and code.text(i - 2) in ("Device", "device"):
        token.text = '"cpu"'
    elif token.text == "is_available" and code.text(i - 2) == "cuda":
        token.text = "warploom_is_available"
