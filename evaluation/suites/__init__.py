"""Benchmark folders come in, records, verdicts on answers and audits go out. `read.py` first, then `score.py`."""
