"""Source text comes in, a library goes out; what was built a moment ago is not built again."""

from __future__ import annotations

from collections import OrderedDict

from ..build import Library, NotBuilt, build
from ..sandbox import Sandbox

_KEPT = 12


class Builds:
    """Builds in the sandbox and keeps the last few libraries, and the last few refusals."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox
        self._kept: OrderedDict[tuple[str, str, str], Library | NotBuilt] = OrderedDict()

    def library(self, source: str, language: str, flags: str = "") -> Library:
        """The built library. Raises `NotBuilt`."""
        key = (source, language, flags)
        if key not in self._kept:
            try:
                self._kept[key] = build(source, language, self.sandbox, compile_only=flags)
            except NotBuilt as error:
                self._kept[key] = error
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        made = self._kept[key]
        if isinstance(made, NotBuilt):
            raise NotBuilt(made.finding)
        return made
