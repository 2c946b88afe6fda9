"""The `warploom` command: arguments come in, one room is called, text or JSON and an exit code go out.

Each command imports its room inside its body, so that `warploom --help` stays quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="warploom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Weave PyTorch models and CUDA kernels into fast, verified code.",
)


@app.callback()
def _commands() -> None:
    """Weave PyTorch models and CUDA kernels into fast, verified code."""


@app.command()
def judge(
    task: Annotated[str | None, typer.Argument(help="The task: FILE.py in KernelBench form.")] = None,
    candidate: Annotated[str | None, typer.Argument(help="The candidate: .cpp, .c, .py or .cu.")] = None,
    allow_precision: Annotated[str, typer.Option(help="Accept arithmetic in tf32, bf16 or fp16.")] = "float32",
    claims: Annotated[str | None, typer.Option(help="A CSV of claimed times (problem,time_ms) to hold against --device.")] = None,
    device: Annotated[str | None, typer.Option(help="The device of --claims, such as a100-sxm-80gb.")] = None,
    zoo: Annotated[str | None, typer.Option(help="A folder of labelled candidates: prints the judge's precision and recall.")] = None,
    mutants: Annotated[int, typer.Option(help="With --zoo: judge so many broken variants of its honest kernels instead.")] = 0,
    seed: Annotated[int, typer.Option(help="Which mutants are drawn.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of candidate and baseline; 0: all processors.")] = 0,
    unsafe_no_sandbox: Annotated[bool, typer.Option("--unsafe-no-sandbox", help="Run candidates without containment.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Say whether a kernel is right, honest and how fast: exit 0 accepted, 1 rejected, 2 could not judge, 3 no sandbox."""
    from .evaluation.command import run_claims, run_mutants, run_verdict, run_zoo

    if claims:
        raise typer.Exit(run_claims(claims, device, as_json))
    if zoo and mutants:
        raise typer.Exit(run_mutants(zoo, mutants, seed, threads, unsafe_no_sandbox, as_json))
    if zoo:
        raise typer.Exit(run_zoo(zoo, threads, unsafe_no_sandbox, as_json))
    raise typer.Exit(run_verdict(task, candidate, allow_precision, threads, unsafe_no_sandbox, as_json))


@app.command()
def run(
    files: Annotated[list[str], typer.Argument(help="A bare kernel FILE.cu (with FILE.json), or a PyTorch extension (with its FILE.py).")],
    include: Annotated[list[str] | None, typer.Option("-I", help="A folder for #include.")] = None,
    define: Annotated[list[str] | None, typer.Option("-D", help="A macro, N=V.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Look for bad accesses, races, uninitialised reads and bad barriers.")] = False,
    out: Annotated[str | None, typer.Option(help="The folder for output arrays; a new temporary one by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Run CUDA on the CPU: exit 0 ran, 1 failed, disagrees or (with --check) has findings, 2 unreadable, 3 no compiler."""
    from .backends.emulator.command import run_command

    raise typer.Exit(run_command(files, include or [], define or [], check, out, as_json))


@app.command("compile")
def compile_(
    model: Annotated[str, typer.Argument(help="FILE.py[:Class] in KernelBench form, or zoo:NAME.")],
    target: Annotated[str, typer.Option(help="What to compile for.")] = "cpu",
    passes: Annotated[str, typer.Option(help="Optional passes, separated by commas.")] = "",
    tune: Annotated[str | None, typer.Option(help="Time to spend on tuning, such as 30s.")] = None,
    no_library: Annotated[bool, typer.Option("--no-library", help="No ATen, oneDNN or MKL for operators that we own.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all processors).")] = None,
    dynamic: Annotated[list[str] | None, typer.Option(help="A dynamic axis, such as x:0=batch; may be repeated.")] = None,
    report: Annotated[str | None, typer.Option(help="Write the HTML report here.")] = None,
    export: Annotated[str | None, typer.Option(help="Write a standalone C++ project to this folder.")] = None,
    dump_ir: Annotated[str | None, typer.Option(help="Write the IR after each pass to this folder.")] = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Do not time eager and Inductor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Compile a PyTorch model, verify it against eager and time it against eager and Inductor."""
    from .compiler import CompileRequest, run_compile

    request = CompileRequest(
        model, target, tuple(p for p in passes.split(",") if p), tune, not no_library, threads, tuple(dynamic or ()),
        report, export, dump_ir, not no_compare,
    )  # fmt: skip
    raise typer.Exit(run_compile(request, as_json))


@app.command()
def replay(
    file: Annotated[str, typer.Argument(help="A kernel or graph text, as --dump-ir or a reduced failure writes it.")],
    dims: Annotated[str, typer.Option(help="Sizes of symbolic dims, such as M=4,N=8.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of the inputs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Run a dumped program again and compare it with its meaning: exit 0 agrees, 1 does not, 2 unreadable."""
    from .kernels.replay import run_replay

    raise typer.Exit(run_replay(file, dims, seed, as_json))


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False) -> None:
    """Show compilers, GPU, sandbox, cores, measured bandwidth and peak, and the build cache. Exit 3: something needed is absent."""
    from .evaluation.report.health import run_doctor

    raise typer.Exit(run_doctor(as_json))


cache = typer.Typer(no_args_is_help=True, help="The build cache.")
app.add_typer(cache, name="cache")


@cache.callback()
def _cache() -> None:
    """The build cache."""


@cache.command("clear")
def cache_clear(as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False) -> None:
    """Empty the build cache."""
    from .evaluation.report.health import run_cache_clear

    raise typer.Exit(run_cache_clear(as_json))


bench = typer.Typer(no_args_is_help=True, help="Compare speed, interleaved.")
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Compare speed, interleaved."""


@bench.command("cpu")
def bench_cpu(
    suite: Annotated[str | None, typer.Option(help="A folder of problems in KernelBench form (level1, level2, ... inside).")] = None,
    threads: Annotated[str, typer.Option(help="Thread counts, separated by commas.")] = "1",
    only: Annotated[str | None, typer.Option(help="Problems whose name contains this.")] = None,
    budget: Annotated[float, typer.Option(help="Seconds of timing per problem and thread count.")] = 2.0,
    timeout: Annotated[float, typer.Option(help="Seconds that one problem may take in all.")] = 300.0,
    no_library: Annotated[bool, typer.Option("--no-library", help="No ATen, oneDNN or MKL for operators that we own.")] = False,
    out: Annotated[str | None, typer.Option(help="Write the JSON, with the machine's description, to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Compare with eager, Inductor and ONNX Runtime (where installed) on the CPU: interleaved, allocator settings equal for all."""
    from .compiler import BENCH_WORKER
    from .evaluation.bench.command import BenchRequest, run_bench

    raise typer.Exit(run_bench(BenchRequest(BENCH_WORKER, suite, threads, only, budget, timeout, not no_library, out), as_json))


COMPARING = ("compile", "bench")


def main() -> None:
    """Console entry point. What compares speed runs under equal allocator settings for all."""
    if len(sys.argv) > 1 and sys.argv[1] in COMPARING and "--help" not in sys.argv:
        from .backends.cpu.malloc import restart_keeping_memory

        restart_keeping_memory()
    app()


if __name__ == "__main__":
    main()
