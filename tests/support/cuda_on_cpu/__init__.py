"""The kernels on the CPU: their sources as C++, and a driver that runs them in place of CUDA's."""
