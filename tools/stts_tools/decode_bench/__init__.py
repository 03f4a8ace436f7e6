"""The benchmark of `stts_runtime.cuda_decode` on a GPU: random layers, their reference in numpy, and the clock."""
