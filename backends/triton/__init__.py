"""The Triton backend: scheduled kernels come in; Triton kernels with their launches, cubins and something that runs them go out."""
