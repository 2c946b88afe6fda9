"""A suite and models come in, a run folder with answers, verdicts and reports goes out. `run.py` first."""
