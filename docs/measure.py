"""Runs the code of `kernels.md`, times its kernels k1..k8 on one thread and writes the figures into the page and, with the machine's
description, into `kernels.json`.

    python docs/measure.py [--size 960] [--budget 2] [--dry]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import torch
from warploom.backends.cpu.peaks import measured_again
from warploom.kernels.measure import Measured

PAGE = Path(__file__).with_name("kernels.md")
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
WHAT = {
    "k1": "as written", "k2": "sums side by side", "k3": "one register", "k4": "three registers", "k5": "rows too", "k6": "rows unrolled",
    "k7": "operands packed", "k8": "no guards",
}  # fmt: skip


def code() -> str:
    """All Python blocks of the page, one after the other."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def module(folder: Path) -> ModuleType:
    """The page's code as a module; it runs while it is imported."""
    path = folder / "kernels_page.py"
    path.write_text(code())
    spec = importlib.util.spec_from_file_location("kernels_page", path)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules["kernels_page"] = made
    spec.loader.exec_module(made)
    return made


def measure(page: ModuleType, size: int, budget_s: float) -> dict[str, Measured]:
    torch.set_num_threads(1)
    a, b = torch.randn(size, size), torch.randn(size, size)
    want = a @ b
    out = {}
    for name in WHAT:
        kernel = getattr(page, name)
        assert torch.allclose(kernel(a, b), want, rtol=1e-3, atol=1e-3), name
        out[name] = kernel.bench(a, b, against=torch.matmul, budget_s=budget_s)
    return out


def table(found: dict[str, Measured], size: int, machine: str) -> str:
    """Markdown; the figures of one run."""
    lines = [f"{size} x {size} x {size}, one thread, {machine}:", "", "| step | ms | GFLOP/s | of peak | torch's time / ours |", "|---|---|---|---|---|"]
    for number, (name, m) in enumerate(found.items(), 1):
        rate = f"{m.flops / m.seconds / 1e9:.1f}"
        lines.append(f"| {number}. {WHAT[name]} | {m.seconds * 1e3:.2f} | {rate} | {m.peak:.1%} | {m.ratio:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure the tutorial.")
    parser.add_argument("--size", type=int, default=960)
    parser.add_argument("--budget", type=float, default=2.0)
    parser.add_argument("--dry", action="store_true", help="print the table alone")
    options = parser.parse_args(arguments)
    machine = measured_again()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(module(Path(folder)), options.size, options.budget)
    name = f"{machine.name}, {machine.isa}, measured peak {machine.flops / 1e9:.0f} GFLOP/s"
    text = table(found, options.size, name)
    print(text)
    if options.dry:
        return
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    kept = {"machine": {**asdict(machine), "features": sorted(machine.features)}, "size": options.size, "steps": {n: asdict(m) for n, m in found.items()}}
    PAGE.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
