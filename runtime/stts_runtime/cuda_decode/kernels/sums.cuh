// Sums over all threads of a block, in the order of its warps.
#pragma once
#include <primitives.cuh>

// For every thread. `sums`: scratch of a float a warp in shared memory, which nobody else uses until the next barrier.
template <int THREADS> DEVICE float sum_of_block(float mine, float* sums) {
    for (int mask = WARP / 2; mask; mask /= 2) mine += shuffle_xor(mine, mask);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = mine;
    barrier();
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < THREADS / WARP; ++warp) sum += sums[warp];
    return sum;
}
