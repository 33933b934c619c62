"""Kernels of the mixture: Python that Numba compiles for the processor it runs on."""
