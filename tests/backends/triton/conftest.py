"""Lets the tests here use the small models of the CUDA tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "cuda"))
