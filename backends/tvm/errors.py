"""What can go wrong between a Graph and TVM."""

from __future__ import annotations

from ...ir.diagnostic import WarploomError


class Untranslated(WarploomError):
    """TVM has no translation of an operator, a dtype or a size of the Graph; the message names it. Use another target for this program."""

    code = "WL-E059"


class TvmFailed(WarploomError):
    """TVM ended, hung or refused a program that was translated. The message has its first line."""

    code = "WL-E066"
    exit_code = 1
