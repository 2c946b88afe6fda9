"""The schema of a data set: one pydantic model a pair, one a rejection. Columns that hold structures are JSON text in the files.

Version 2. Columns beyond those of the contract: `schema_version`, `operators`, `c_naive`, `c_plain`, `features`. A record made from a user's own `.cu` file will
have the same columns, with `graph` empty where nothing was raised.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA = 2
NESTED = ("cuda_launches", "cuda_strategy", "buffers", "c_args", "c_strategy", "inputs", "outputs", "verdicts", "times", "provenance", "operators", "features")
LICENSE = "CC0-1.0"
_CONTENT = ("graph", "cuda_source", "cuda_launches", "buffers", "c_source", "c_entry", "c_args", "c_compile")


class Pair(BaseModel):
    """One verified pair. `cuda_launches`: kernel, grid, block, shared_bytes, args (names of `buffers`), in order; `buffers`: name, role (input, output,
    temporary), dtype, shape; `cuda_strategy.name`: naive, default, tuned, or
    dlight (made by TVM; `provenance.cuda_by` has its version); `c_args`: name, type, role, in the order of the C entry; `inputs`: dtype and shape of each input, and for each case
    its family, seed and one NumPy expression an input; `outputs`: for each case and output its checksum; `family`: programs alike but for shapes
    and numbers; `c_naive`: the unscheduled C of the same program, the baseline of `times`;
    `c_plain`: that program as one plain C function of the same arguments, empty where plain C has not its types."""

    model_config = ConfigDict(extra="forbid")
    id: str = ""
    family: str = ""
    split: str = ""
    category: str
    graph: str
    cuda_source: str
    cuda_launches: list[dict[str, Any]]
    cuda_strategy: dict[str, Any]
    buffers: list[dict[str, Any]]
    c_source: str
    c_entry: str
    c_args: list[dict[str, Any]]
    c_compile: str
    c_strategy: dict[str, Any]
    inputs: dict[str, Any]
    outputs: list[dict[str, Any]]
    verdicts: dict[str, Any]
    times: dict[str, Any]
    license: str = LICENSE
    provenance: dict[str, Any]
    operators: list[str]
    c_naive: str
    c_plain: str
    features: dict[str, Any]
    schema_version: int = SCHEMA

    def identified(self) -> Pair:
        """The record with its id: a digest of what it says, not of when or how fast."""
        value = json.dumps([getattr(self, name) for name in _CONTENT], sort_keys=True)
        return self.model_copy(update={"id": hashlib.sha256(value.encode()).hexdigest()[:20]})

    def row(self) -> dict[str, Any]:
        """Column -> value as the parquet file has it."""
        value = self.model_dump()
        return {k: json.dumps(v) if k in NESTED else v for k, v in value.items()}

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Pair:
        """The inverse of `row`. Raises ValueError for a corrupted row."""
        return cls.model_validate({k: json.loads(v) if k in NESTED else v for k, v in row.items()})


class Reject(BaseModel):
    """A program that gave no pair: `code` says why (a verdict's code, near-duplicate, build-error, ..), `side` where."""

    number: int
    code: str
    side: str
    reason: str
    category: str
    operators: list[str]
    graph: str
    cuda_source: str = ""
    c_source: str = ""

    def row(self) -> dict[str, Any]:
        """Column -> value as the parquet file has it."""
        return {**self.model_dump(), "operators": json.dumps(self.operators)}
