"""What this environment offers: nothing comes in, a list of findings goes out (`warploom doctor`)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from dataclasses import asdict, dataclass

import torch

from ...ir.diagnostic import MissingTool
from ..cache import cache_limit, default_cache
from ..toolchain import compiler, cores
from .allocator import pool
from .peaks import measured_again

EXTRAS = ("onnxruntime", "triton", "tvm", "litellm", "einops")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer. `ok` False: something that `compile` needs is absent."""

    name: str
    value: str
    ok: bool = True


@dataclass(frozen=True)
class Examination:
    findings: tuple[Finding, ...]
    peaks: dict[str, float]

    @property
    def ok(self) -> bool:
        return all(f.ok for f in self.findings)

    def data(self) -> dict[str, object]:
        """JSON form."""
        return {"ok": self.ok, "findings": [asdict(f) for f in self.findings], "peaks": self.peaks}


def examine() -> Examination:
    """Look at compiler, CPU, cores, GPU, sandbox, cache and extras; measure bandwidth and peak."""
    findings, peaks = [_compiler()], {}
    if findings[0].ok:
        machine = measured_again()
        peaks = {"gflops": machine.flops / 1e9, "gb_per_s": machine.bandwidth / 1e9, "gb_per_s_all": machine.bandwidth_all / 1e9,
                 "gb_per_s_cache": machine.bandwidth_cache / 1e9}  # fmt: skip
        findings += [
            Finding("cpu", f"{machine.name}, {machine.isa}; L2 {machine.l2 >> 10} KiB, L3 {machine.l3 >> 20} MiB"),
            Finding("peak float32", f"{peaks['gflops']:.0f} Gflop/s a core"),
            Finding(
                "read bandwidth",
                f"{peaks['gb_per_s']:.0f} GB/s one core, {peaks['gb_per_s_all']:.0f} all, {peaks['gb_per_s_cache']:.0f} from L3",
            ),
        ]
    return Examination((*findings, *_surroundings()), peaks)


def _compiler() -> Finding:
    try:
        return Finding("C++ compiler", compiler().version)
    except MissingTool as error:
        return Finding("C++ compiler", str(error), False)


def _surroundings() -> list[Finding]:
    cache = default_cache()
    held = sum(size for _, size, _ in cache.entries()) if cache.folder.is_dir() else 0
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    sandbox = shutil.which("bwrap")
    extras = ", ".join(f"{n} {_version(n)}" if importlib.util.find_spec(n) else f"{n} absent" for n in EXTRAS)
    return [
        Finding("cores", f"{cores()} usable, torch uses {torch.get_num_threads()} threads"),
        Finding("torch", torch.__version__),
        Finding("GPU", gpu),
        Finding("sandbox", sandbox or "none: `apt-get install bubblewrap` to judge untrusted code"),
        Finding(
            "build cache",
            f"{cache.folder}: {held >> 20} of at most {cache_limit() >> 20} MiB (WARPLOOM_CACHE moves it, WARPLOOM_CACHE_LIMIT in MiB bounds it)",
        ),
        Finding(
            "allocator", f"{'on' if pool.enabled else 'off'}, holds at most {pool.limit >> 20} MiB (WARPLOOM_ALLOCATOR=off)"
        ),
        Finding("extras", extras),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version({"tvm": "apache-tvm"}.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return "present"
