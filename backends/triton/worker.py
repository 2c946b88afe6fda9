"""The process that runs Triton: requests come in as JSON lines, answers go out. Started by `run.Worker` with TRITON_INTERPRET set or not."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import sys
import types
from typing import Any

from ..cache import cached, contents


def module_of(source: str) -> types.ModuleType:
    """A source as a module; Triton reads kernels from their file."""
    name = f"triton_{hashlib.sha256(source.encode()).hexdigest()[:32]}"
    path = cached(f"{name}.bin", source.encode)
    text = path.with_suffix(".py")
    text.write_bytes(contents(path))
    spec = importlib.util.spec_from_file_location(name, text)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(request: dict[str, Any]) -> None:
    """Launches on the tensors of a file, written back to it."""
    import torch

    kernels, values = module_of(request["source"]), torch.load(request["values"])
    for x in request["launches"]:
        args = [values[a] if isinstance(a, str) else a for a in x["args"]]
        getattr(kernels, x["kernel"])[tuple(x["grid"])](*args)
    torch.save(values, request["values"])


def compile_kernels(request: dict[str, Any]) -> dict[str, int]:
    """Bytes of each kernel's cubin."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernels, out = module_of(request["source"]), {}
    for name, kinds in request["signatures"].items():
        function = getattr(kernels, name)
        signature = dict(zip(function.arg_names, kinds))
        made = triton.compile(ASTSource(fn=function, signature=signature), target=GPUTarget("cuda", request["arch"], 32), options={"num_warps": request["warps"]})
        out[name] = len(made.asm["cubin"])
    return out


_DO = {"run": run, "compile": compile_kernels}


def main() -> None:
    """Answer requests until the input ends."""
    answers = sys.stdout
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                answer = {"value": _DO[request["do"]](request)}
        except Exception as error:
            last = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {' | '.join(last[-4:])[:400]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
