"""Runs CUDA C++ on the CPU: a kernel file and a launch come in, its outputs and findings go out."""
