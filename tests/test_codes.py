"""A code names one cause: no two error classes share one."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_error_code_has_one_meaning():
    owners = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        if "tests" in path.parts or any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            continue
        owner = ""
        for line in path.read_text().splitlines():
            owner = found[1] if (found := re.match(r"class (\w+)", line)) else owner
            if stated := re.match(r"    code(?:: str)? = \"(WL-E\d+)\"", line):
                owners[stated[1]].add(f"{path.relative_to(ROOT)}:{owner}")
    assert len(owners) > 40
    assert not {code: names for code, names in owners.items() if len(names) > 1}
