"""Operator specifications in, verified CUDA-CPU pairs out. Read `build.py` first, then `record.py`."""
