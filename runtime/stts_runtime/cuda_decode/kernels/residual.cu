// Behind a product of OLMo 3's form: x += change / its root mean square * norm.
//
// | kernel | in | out | bytes a sequence at Molmo2-O-7B's size |
// | --- | --- | --- | --- |
// | add_normed | change (B, 4096) float32; norm (4096) of T | x += (B, 4096) float32 | 56 KB, from the L2 cache |
//
// It takes a launch of its own, since all blocks of the next product want the whole row.
#include "activations.cuh"
#include "sums.cuh"

typedef ACTIVATION T;
constexpr int THREADS = 512;

// Grid (B). Shared memory: a float a warp.
KERNEL(THREADS, 1) add_normed(const float* change, const Bits16* norm, float eps, int width, float* x) {
    let_next_start();
    prefetch_norm(norm, width);
    wait_for_previous();
    change += blockIdx.x * width;
    x += blockIdx.x * width;
    float square = sum_of_block<THREADS>(sum_of_squares<THREADS>(change, width), reinterpret_cast<float*>(shared_memory()));
    float factor = inverse_root(square / width + eps);
    for (int column = threadIdx.x; column < width; column += THREADS)
        x[column] += change[column] * factor * T::wide(norm[column]);
}
