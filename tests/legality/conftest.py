"""Lets the tests of this folder import the modules beside them and the generators of `tests/fuzz`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "fuzz", HERE.parent / "ir", HERE.parent / "passes"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
