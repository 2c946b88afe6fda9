"""The `warploom` command: arguments come in, one room is called, text or JSON and an exit code go out.

Each command imports its room inside its body, so that `warploom --help` stays quick.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from .kernels.guard import survive

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
    task: Annotated[str | None, typer.Argument(help="The task: FILE.py in KernelBench form, or a Graph's or Kernel's text (.graph, .wl, .txt).")] = None,
    candidate: Annotated[str | None, typer.Argument(help="The candidate: .cpp, .c, .py (torch or Triton), .cu, or .wl (a warploom program).")] = None,
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


@app.command()
def transpile(
    files: Annotated[list[str], typer.Argument(help="CUDA files: bare kernels or PyTorch extensions.")],
    launch: Annotated[str | None, typer.Option(help="grid=x,y,z;block=x,y,z;shared=n, compiled into bare kernels.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Run the result against the emulator.")] = False,
    out: Annotated[str | None, typer.Option("-o", help="OUT.cpp; a folder for several files.")] = None,
    include: Annotated[list[str] | None, typer.Option("-I", help="A folder for #include.")] = None,
    define: Annotated[list[str] | None, typer.Option("-D", help="A macro, N=V.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """CUDA to C++ by rules: exit 0 done (and verified), 1 refused or it disagrees, 2 unreadable, 3 no compiler."""
    from .transpiler import TranspileRequest, run_transpile

    request = TranspileRequest(tuple(files), launch, verify, out, tuple(include or ()), tuple(define or ()))
    raise typer.Exit(run_transpile(request, as_json))


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
    arguments = (
        model, target, tuple(p for p in passes.split(",") if p), tune, not no_library, threads, tuple(dynamic or ()),
        report, export, dump_ir, not no_compare,
    )  # fmt: skip

    def work() -> int:
        from .compiler import CompileRequest, run_compile

        return run_compile(CompileRequest(*arguments), as_json)

    def died(signal_name: str) -> int:
        from .compiler import CompileRequest, run_crashed

        return run_crashed(CompileRequest(*arguments), signal_name, as_json)

    raise typer.Exit(survive(work, died) if _alone else work())


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
def evolve(
    file: Annotated[str, typer.Argument(help="FILE.py in KernelBench form; or one of `show`, `record`, `export`, `import`.")],
    folder: Annotated[str | None, typer.Argument(help="With `show` and `record`: the folder of a run; with `export` and `import`: a file of strategies.")] = None,
    target: Annotated[str, typer.Option(help="What to evolve for.")] = "cpu",
    budget: Annotated[str, typer.Option(help="Time in all, such as 30s, 10m or 8h.")] = "10m",
    evaluations: Annotated[int, typer.Option(help="Candidates to measure at most; 0: no bound.")] = 0,
    model: Annotated[str | None, typer.Option(help="Any litellm name, for the proposers llm and mixed.")] = None,
    proposer: Annotated[str, typer.Option(help="builtin, llm or mixed; random and hill to compare with.")] = "builtin",
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    out: Annotated[str | None, typer.Option(help="The folder of the run (default: evolve-NAME).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    replay: Annotated[str | None, typer.Option(help="Take all measurements from the run in this folder, or from its record.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the kernels.")] = 1,
    max_tokens: Annotated[int, typer.Option(help="Of the model, in all; 0: no bound.")] = 0,
    max_cost: Annotated[float, typer.Option(help="Of the model, in USD; 0: no bound.")] = 0.0,
    no_knowledge: Annotated[bool, typer.Option("--no-knowledge", help="Start from nothing that earlier runs found.")] = False,
    unsafe_no_sandbox: Annotated[bool, typer.Option("--unsafe-no-sandbox", help="Judge without containment.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Search strategies for faster kernels; every winner has passed the judge. `evolve show DIR` writes the run as HTML, `evolve record DIR`
    what it was told as one file for --replay; `evolve export FILE` and `import FILE`: the strategies that runs have found."""
    began = time.monotonic()
    if file in ("show", "record", "export", "import") and folder is not None:
        from .agents.evolve.files import run_files

        raise typer.Exit(run_files(file, folder, out, as_json))
    from .agents.evolve.command import Request, run_evolve

    request = Request(
        file, target, budget, evaluations, model, proposer, seed, out, resume, replay, threads, max_tokens, max_cost, not no_knowledge,
        unsafe_no_sandbox,
    )  # fmt: skip
    raise typer.Exit(run_evolve(request, as_json, began))


@app.command("eval")
def eval_(
    paths: Annotated[list[str], typer.Argument(help="A benchmark's folder; or `report DIR...` to compare finished runs.")],
    suite: Annotated[str | None, typer.Option(help="HPCTransEval, KernelBench_c or warploom, where a folder holds several.")] = None,
    model: Annotated[str, typer.Option(help="rules, echo:FILE, local:smollm2 or any litellm name; several by commas.")] = "",
    samples: Annotated[int, typer.Option(help="Answers per record and model.")] = 1,
    out: Annotated[str | None, typer.Option(help="The run's folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Show records, categories and what cannot be read.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Examine each record without any model.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Judge deliberately wrong answers to each record: is each classed rightly?")] = False,
    protocol: Annotated[str, typer.Option(help="strict (the judge) or original (as published).")] = "strict",
    repair: Annotated[int, typer.Option(help="Rounds in which a model sees why its answer was rejected.")] = 0,
    profile_guided: Annotated[int, typer.Option(help="Rounds in which a model sees how fast its right answer is.")] = 0,
    max_cost: Annotated[float | None, typer.Option(help="USD that are never passed.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that are never passed.")] = None,
    workers: Annotated[int, typer.Option(help="Samples under way at a time; 0: one per processor.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the models' draws.")] = 0,
    prompt: Annotated[str, typer.Option(help="ours or published (the default under --protocol original).")] = "",
    prompts: Annotated[str, typer.Option(help="A folder with prompt templates of your own.")] = "",
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling.")] = 1.0,
    answer_tokens: Annotated[int, typer.Option(help="Tokens that one answer may have.")] = 4096,
    timeout: Annotated[float, typer.Option(help="Seconds that one request may take.")] = 180.0,
    retries: Annotated[int, typer.Option(help="How often a failed request is sent again.")] = 6,
    price: Annotated[str, typer.Option(help="USD per million tokens, IN,OUT, where litellm knows no price.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of answers and baselines; 0: all processors.")] = 0,
    unsafe_no_sandbox: Annotated[bool, typer.Option("--unsafe-no-sandbox", help="Run answers without containment.")] = False,
    inductor: Annotated[bool, typer.Option("--inductor", help="Time torch.compile's code of known operators as a further baseline.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Evaluate models on CUDA-to-CPU transpilation: exit 0 done, 2 unreadable or usage, 3 something is not installed."""
    from .agents.evaluate.command import EvalRequest, run_eval

    request = EvalRequest(
        tuple(paths), suite, model, samples, out, resume, list_only, audit, probe, protocol, repair, profile_guided, max_cost, max_tokens,
        workers, seed, prompt, prompts, temperature, top_p, answer_tokens, timeout, retries, price, threads, unsafe_no_sandbox, inductor,
    )  # fmt: skip
    raise typer.Exit(run_eval(request, as_json))


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


dataset = typer.Typer(no_args_is_help=True, help="Verified CUDA-CPU pairs to train on.")
app.add_typer(dataset, name="dataset")


@dataset.callback()
def _dataset() -> None:
    """Verified CUDA-CPU pairs to train on."""


@dataset.command("build")
def dataset_build(
    out: Annotated[str, typer.Option(help="The folder of the data set.")],
    count: Annotated[int, typer.Option(help="Pairs wanted.")],
    seed: Annotated[int, typer.Option(help="Which programs are drawn.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the data set in --out.")] = False,
    workers: Annotated[int, typer.Option(help="Pairs under way at a time; 0: one per processor.")] = 0,
    models: Annotated[list[str] | None, typer.Option(help="Models whose parts become programs: zoo, zoo:NAME, a KernelBench-form file or folder.")] = None,
    avoid: Annotated[list[str] | None, typer.Option(help="A benchmark's folder that no program may repeat.")] = None,
    operators: Annotated[str, typer.Option(help="The only operators to make programs of, separated by commas.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Make pairs: CUDA and C++ of one program, both run and held against float64."""
    from .datasets.command import run_build

    raise typer.Exit(run_build(out, count, seed, resume, workers, as_json, models or (), avoid or (), list(filter(None, operators.split(",")))))


@dataset.command("check")
def dataset_check(
    folder: Annotated[str, typer.Argument(help="The folder of a data set.")],
    sample: Annotated[int, typer.Option(help="Pairs to compile and run; 0: all.")] = 20,
    seed: Annotated[int, typer.Option(help="Which pairs.")] = 0,
    times: Annotated[bool, typer.Option("--times", help="Also time the C sides beside their unscheduled forms, in turn.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Re-run pairs from the files alone: exit 0 all holds, 1 something does not, 2 unreadable."""
    from .datasets.command import run_check

    raise typer.Exit(run_check(folder, sample, seed, as_json, times))


@dataset.command("card")
def dataset_card(
    folder: Annotated[str, typer.Argument(help="The folder of a data set.")],
    beside: Annotated[str | None, typer.Option(help="A folder of HPCTransEval records to compare the coverage with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Write the card: README.md with what is in the data set and what it does not show."""
    from .datasets.command import run_card

    raise typer.Exit(run_card(folder, beside, as_json))


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


def _bench_rows(sweep: str, rows: str, budget: float, only: str | None, out: str | None, as_json: bool) -> None:
    from .compiler import compile_rows
    from .evaluation.bench.rows import RowsRequest, run_rows

    raise typer.Exit(run_rows(RowsRequest(sweep, compile_rows, rows, budget, only, out), as_json))


RowsOption = Annotated[str, typer.Option(help="Numbers of rows: FROM:TO:STEP, or a list with commas.")]
OnlyOption = Annotated[str | None, typer.Option(help="Models whose name contains this.")]
BudgetOption = Annotated[float, typer.Option(help="Seconds of timing at each number of rows.")]
OutOption = Annotated[str | None, typer.Option(help="Write the JSON, with the machine's description, to this file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


@bench.command("int8")
def bench_int8(
    rows: RowsOption = "1:512:1", budget: BudgetOption = 0.1, only: OnlyOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """`quantize:int8` against float32 eager and torch's own dynamic int8 on a linear layer and two MLPs, at every number of rows."""
    _bench_rows("int8", rows, budget, only, out, as_json)


@bench.command("dynamic")
def bench_dynamic(
    rows: RowsOption = "1:512:1", budget: BudgetOption = 0.1, only: OnlyOption = None, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """One compiled model at every number of rows, against eager, Inductor and ONNX Runtime."""
    _bench_rows("dynamic", rows, budget, only, out, as_json)


@bench.command("gpu")
def bench_gpu(
    suite: Annotated[str | None, typer.Option(help="A folder of problems in KernelBench form (level1, level2, ... inside).")] = None,
    target: Annotated[str, typer.Option(help="cuda, triton, or both, separated by a comma.")] = "cuda",
    only: Annotated[str | None, typer.Option(help="Problems whose name contains this.")] = None,
    budget: Annotated[float, typer.Option(help="Seconds of timing per problem.")] = 2.0,
    timeout: Annotated[float, typer.Option(help="Seconds that one problem may take in all.")] = 300.0,
    out: Annotated[str | None, typer.Option(help="Write the JSON, with the machine's description, to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Compare with eager and Inductor on the GPU, interleaved. Exit 3: there is none."""
    from .compiler import GPU_WORKER
    from .evaluation.bench.gpu import GpuRequest, run_gpu_bench

    raise typer.Exit(run_gpu_bench(GpuRequest(GPU_WORKER, suite, target, only, budget, timeout, out), as_json))


@bench.command("evolve")
def bench_evolve(
    suite: Annotated[str | None, typer.Option(help="A folder of problems in KernelBench form.")] = None,
    only: Annotated[str | None, typer.Option(help="Problems whose name contains one of these, separated by commas.")] = None,
    evaluations: Annotated[int, typer.Option(help="Candidates that each method measures.")] = 40,
    seeds: Annotated[int, typer.Option(help="Runs of each method; 0: no comparison of methods.")] = 3,
    methods: Annotated[str | None, typer.Option(help="Methods to compare, separated by commas (default: all).")] = None,
    budget: Annotated[str | None, typer.Option(help="Evolve and judge each problem first, for so long, such as 2m.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the kernels.")] = 1,
    pool: Annotated[str | None, typer.Option(help="A folder that keeps the measurements; given again, they are used again.")] = None,
    out: Annotated[str | None, typer.Option(help="Write the JSON to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Evolution beside random search, hill climbing and its own ablations, over one pool of measurements."""
    from .agents.evolve.trials import TrialsRequest, run_trials

    raise typer.Exit(run_trials(TrialsRequest(suite, only, evaluations, seeds, threads, pool, out, budget, methods), as_json))


COMPARING = ("compile", "bench", "evolve")


_alone = False  # this process was started for one command


def main() -> None:
    """Console entry point. What compares speed runs under equal allocator settings for all."""
    if len(sys.argv) > 1 and sys.argv[1] in COMPARING and "--help" not in sys.argv:
        from .backends.cpu.malloc import restart_keeping_memory

        restart_keeping_memory()
    global _alone
    _alone = sys.platform != "win32"
    app()


if __name__ == "__main__":
    main()
