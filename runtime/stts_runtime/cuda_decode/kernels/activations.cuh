// Brings activations into shared memory, in the order and type that a format's products read. All threads of the block
// take part; a barrier behind is the caller's. Columns up to whole steps are zero, since weights there are.
#pragma once
#include "product.cuh"

template <class Format, int THREADS>
DEVICE void clear_padding(Bits16* activations, int columns, int batch) {
    int extra = padded(columns) - columns;
    for (int i = threadIdx.x; i < batch * extra; i += THREADS)
        activations[i / extra * stride_of(columns) + columns + i % extra] = 0;
}

// x (batch, columns) of the format's type.
template <class Format, int THREADS>
DEVICE void bring(Bits16* activations, const Bits16* x, int columns, int batch) {
    for (int i = threadIdx.x * 8; i < batch * columns; i += THREADS * 8) {
        Chunk chunk = *reinterpret_cast<const Chunk*>(x + i);
        Bits16* row = activations + i / columns * stride_of(columns);
        int column = i % columns;
#pragma unroll
        for (int j = 0; j < 8; ++j) row[Format::place(column + j)] = chunk.word[j / 2] >> 16 * (j % 2);
    }
    clear_padding<Format, THREADS>(activations, columns, batch);
}

// A norm's weights are read by all blocks at once, behind waiting; so they are brought nearer before.
DEVICE void prefetch_norm(const Bits16* norm, int columns) {
    if (threadIdx.x == 0) prefetch(norm, columns * sizeof(Bits16));
}

// x (batch, columns) float32, each row divided by its root mean square and multiplied by norm (columns).
// `sums`: scratch of (warps x batch) floats.
template <class Format, int THREADS>
DEVICE void bring_normed(Bits16* activations, float* sums, const float* x, const Bits16* norm, float eps, int columns,
                         int batch) {
    typedef typename Format::Type T;
    constexpr int WARPS = THREADS / WARP;
    for (int sequence = 0; sequence < batch; ++sequence) {
        float square = 0;
#pragma unroll 4
        for (int column = threadIdx.x * 4; column < columns; column += THREADS * 4) {
            Floats four = *reinterpret_cast<const Floats*>(x + sequence * columns + column);
            for (int i = 0; i < 4; ++i) square += four.value[i] * four.value[i];
        }
        for (int mask = WARP / 2; mask; mask /= 2) square += shuffle_xor(square, mask);
        if (threadIdx.x % WARP == 0) sums[sequence * WARPS + threadIdx.x / WARP] = square;
    }
    barrier();
    for (int sequence = 0; sequence < batch; ++sequence) {
        float square = 0;
        for (int warp = 0; warp < WARPS; ++warp) square += sums[sequence * WARPS + warp];
        float factor = inverse_root(square / columns + eps);
        Bits16* row = activations + sequence * stride_of(columns);
#pragma unroll 4
        for (int column = threadIdx.x * 4; column < columns; column += THREADS * 4) {
            Floats four = *reinterpret_cast<const Floats*>(x + sequence * columns + column);
            Pairs weight = *reinterpret_cast<const Pairs*>(norm + column);
            for (int i = 0; i < 4; ++i) {
                float scale = T::wide(weight.word[i / 2] >> 16 * (i % 2));
                row[Format::place(column + i)] = T::narrow(four.value[i] * factor * scale);
            }
        }
    }
    clear_padding<Format, THREADS>(activations, columns, batch);
}
