"""Stands for litellm where a test starts many processes: the real one takes ten seconds to import. Same call, same answer, one exception."""

from __future__ import annotations

import json
import os
import urllib.request
from types import SimpleNamespace


class APIConnectionError(Exception):
    """The server could not be reached, or ended the connection."""


def get_model_info(name: str) -> dict:
    """USD per token."""
    return {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


def completion(model: str, messages: list, timeout: float, **given):
    """One request; what comes back has the attributes that the adapter reads."""
    body = json.dumps({"model": model, "messages": messages, "max_tokens": given["max_tokens"]}).encode()
    request = urllib.request.Request(f"{os.environ['OPENAI_API_BASE']}/chat/completions", body, {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            value = json.load(reply)
    except OSError as error:
        raise APIConnectionError(str(error)) from None
    choice = value["choices"][0]
    message = SimpleNamespace(content=choice["message"]["content"])
    return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason=choice["finish_reason"])], usage=SimpleNamespace(**value["usage"]))
