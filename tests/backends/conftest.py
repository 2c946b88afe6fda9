"""Lets the tests of this folder import `printed`, what the printer's tests share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
