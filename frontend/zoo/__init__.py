"""Models that come with the project: no download, no torchvision. `zoo:NAME` on the command line is `build(NAME)` here.

Every model file has `build() -> (model in eval mode, example inputs)`, with weights from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...ir.diagnostic import Unreadable
from . import mlp, resnet, transformer, vit

Built = tuple[torch.nn.Module, tuple[torch.Tensor, ...]]

MODELS: dict[str, Callable[[], Built]] = {
    "mlp": mlp.build,
    "resnet18": resnet.build,
    "resnet-tiny": resnet.build_tiny,
    "gpt-block": transformer.build,
    "vit-tiny": vit.build,
}


def build(name: str) -> Built:
    """The model `name` and example inputs; torch's global generator is left as it was. Raises Unreadable for an unknown name."""
    if name not in MODELS:
        raise Unreadable(f"there is no model `{name}` in the zoo", hint=f"models: {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = MODELS[name]()
    return model.eval(), inputs
