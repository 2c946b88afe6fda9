"""The CUDA backend: scheduled kernels come in; CUDA C++ with its launches, cubins and something that runs them go out."""
