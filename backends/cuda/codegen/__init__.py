"""Scheduled kernels as CUDA C++ text: expressions, statements of one thread, regions of a block, device functions."""
