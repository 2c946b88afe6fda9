"""CUDA kernels as C++ loops: barriers split a kernel into regions, each region is a loop over the block's threads.

Read `kernel.py` first: it has the steps in order.
"""
