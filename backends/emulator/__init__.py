"""CUDA on a CPU: CUDA text, launches and arrays come in, results, failures and findings go out. `execute` has the API."""

from .execute import KernelFailed, run_kernel
from .launch import Launch, launch_comment
from .unit import Parameter, emulator_translation_unit, include_folder

__all__ = [
    "KernelFailed",
    "Launch",
    "Parameter",
    "emulator_translation_unit",
    "include_folder",
    "launch_comment",
    "run_kernel",
]
