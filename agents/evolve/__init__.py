"""Evolution of kernels by strategy: a task file and a budget come in, a judged winner with its lineage goes out. Read `search.py` first."""
