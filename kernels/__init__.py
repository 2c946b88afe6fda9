"""Kernels written by hand: a Python function in the kernel text's syntax comes in, a scheduled, measured, registered kernel goes out."""
