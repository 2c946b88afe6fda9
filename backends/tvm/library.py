"""TVM's modules by name, imported when first used: the one place that names them. Their classes are made at run time, so nothing here is typed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Module:
    """Stands for a module until one of its names is asked for."""

    def __init__(self, path: str):
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._path), name)


tvm: Any = _Module("tvm")
ffi: Any = _Module("tvm_ffi")
relax: Any = _Module("tvm.relax")
codegen: Any = _Module("tvm.target.codegen")
te: Any = _Module("tvm.te")
tirx: Any = _Module("tvm.tirx")
gpu: Any = _Module("tvm.s_tir.dlight.gpu")
build: Any = _Module("tvm.tirx.build")
