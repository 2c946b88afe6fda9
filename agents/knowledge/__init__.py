"""Strategies with their evidence, kept between runs: kernel features come in, strategies that helped similar kernels go out."""
