"""Lets the tests here import each other's material, and the kernels written by hand for the IR's tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2] / "ir")]
