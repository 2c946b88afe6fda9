"""A device's name comes in, its figures by datasheet go out: bandwidth, last-level cache, and dense peaks of each arithmetic."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..ir.diagnostic import WarploomError

_NVIDIA = "https://www.nvidia.com/"
_A100 = _NVIDIA + "content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf"
_H100 = "https://resources.nvidia.com/en-us-gpu-resources/h100-datasheet-24306"
_H200 = _NVIDIA + "en-us/data-center/h200/"
_ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"


class UnknownDevice(WarploomError):
    """The device is not in the table. Use one of the names that the message lists."""

    code = "WL-E058"


@dataclass(frozen=True)
class Device:
    """GB/s, MiB of last-level cache, and dense Tflop/s: `fp32` without matrix units, `tf32`, `fp16` (and bf16), `fp8` with; 0: has none."""

    name: str
    bandwidth: float
    cache_mib: float
    fp32: float
    tf32: float
    fp16: float
    fp8: float
    source: str

    @property
    def fastest(self) -> float:
        """Tflop/s of the fastest floating arithmetic."""
        return max(self.fp32, self.tf32, self.fp16, self.fp8)

    def precisions(self) -> list[tuple[str, float]]:
        """Arithmetics from exact to rough with their peaks."""
        peaks = [("float32", self.fp32), ("tf32", self.tf32), ("fp16", self.fp16), ("fp8", self.fp8)]
        return [(name, peak) for name, peak in peaks if peak]


DEVICES = {
    d.name: d
    for d in (
        Device("a100-sxm-80gb", 2039, 40, 19.5, 156, 312, 0, _A100),
        Device("a100-sxm-40gb", 1555, 40, 19.5, 156, 312, 0, _A100),
        Device("a100-pcie-80gb", 1935, 40, 19.5, 156, 312, 0, _A100),
        Device("a100-pcie-40gb", 1555, 40, 19.5, 156, 312, 0, _A100),
        Device("h100-sxm", 3350, 50, 67, 494.7, 989.4, 1978.9, _H100),
        Device("h100-pcie", 2000, 50, 51, 378, 756, 1513, _H100),
        Device("h100-nvl", 3900, 50, 60, 417.5, 835, 1670, _H100),
        Device("h200-sxm", 4800, 50, 67, 494.7, 989.4, 1978.9, _H200),
        Device("h200-nvl", 4800, 50, 60, 417.5, 835.5, 1671, _H200),
        Device("gh200", 4900, 50, 67, 494.7, 989.4, 1978.9, _NVIDIA + "en-us/data-center/grace-hopper-superchip/"),
        Device("b200", 8000, 126, 80, 1125, 2250, 4500, _NVIDIA + "en-us/data-center/hgx/"),
        Device(
            "v100-sxm2-32gb",
            900,
            6,
            15.7,
            0,
            125,
            0,
            "https://images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf",
        ),
        Device(
            "v100-pcie-32gb",
            900,
            6,
            14,
            0,
            112,
            0,
            "https://images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf",
        ),
        Device("l40s", 864, 96, 91.6, 183, 362.05, 733, _NVIDIA + "en-us/data-center/l40s/"),
        Device("l40", 864, 96, 90.5, 90.5, 181.05, 362, _NVIDIA + "en-us/data-center/l40/"),
        Device("l4", 300, 48, 30.3, 60, 121, 242.5, _NVIDIA + "en-us/data-center/l4/"),
        Device("a10", 600, 6, 31.2, 62.5, 125, 0, _NVIDIA + "en-us/data-center/products/a10-gpu/"),
        Device("a40", 696, 6, 37.4, 74.8, 149.7, 0, _NVIDIA + "en-us/data-center/a40/"),
        Device("rtx-a6000", 768, 6, 38.7, 77.4, 154.8, 0, _NVIDIA + "en-us/design-visualization/rtx-a6000/"),
        Device("t4", 320, 4, 8.1, 0, 65, 0, _NVIDIA + "en-us/data-center/tesla-t4/"),
        Device("rtx-4090", 1008, 72, 82.6, 82.6, 330.3, 660.6, _ADA),
        Device(
            "rtx-3090",
            936,
            6,
            35.6,
            35.6,
            142,
            0,
            "https://images.nvidia.com/aem-dam/en-zz/Solutions/geforce/ampere/pdf/NVIDIA-ampere-GA102-GPU-Architecture-Whitepaper-V1.pdf",
        ),
        Device(
            "mi300x",
            5300,
            256,
            163.4,
            653.7,
            1307.4,
            2614.9,
            "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
        ),
    )
}
ALIASES = {
    "a100": "a100-sxm-80gb", "a100-sxm": "a100-sxm-80gb", "a100-80gb": "a100-sxm-80gb", "a100-40gb": "a100-sxm-40gb", "a100-pcie": "a100-pcie-80gb",
    "h100": "h100-sxm", "h100-80gb": "h100-sxm", "h100-sxm-80gb": "h100-sxm", "h100-80gb-hbm3": "h100-sxm", "h100-pcie-80gb": "h100-pcie",
    "h200": "h200-sxm", "h200-141gb": "h200-sxm", "h200-sxm-141gb": "h200-sxm", "v100": "v100-sxm2-32gb", "v100-sxm2": "v100-sxm2-32gb", "v100-sxm": "v100-sxm2-32gb",
    "rtx4090": "rtx-4090", "4090": "rtx-4090", "rtx3090": "rtx-3090", "3090": "rtx-3090", "a6000": "rtx-a6000", "rtxa6000": "rtx-a6000",
    "v100-pcie": "v100-pcie-32gb", "v100-sxm2-16gb": "v100-sxm2-32gb", "b200-sxm": "b200",
}  # fmt: skip


def find_device(name: str) -> Device:
    """The device of a name or alias, whatever its case and separators. Raises `UnknownDevice`."""
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    key = re.sub(r"^(nvidia|amd|tesla|geforce|instinct)-", "", re.sub(r"^nvidia-(geforce|tesla)-", "", key))
    key = re.sub(r"sxm[45]", "sxm", key)
    key = ALIASES.get(key, key)
    if key not in DEVICES:
        raise UnknownDevice(f"unknown device {name[:60]!r}", hint="one of " + ", ".join(sorted(DEVICES)))
    return DEVICES[key]
