"""CUDA text -> a typed tree, launches, bindings and, where accesses are affine, Kernel IR. Read `tree.py` first, then `read.py`."""
