// Brings activations into shared memory, in the type and order that a format's products read. All threads of the block
// take part; a barrier behind is the caller's. Columns up to whole steps become zero, as the weights there are.
#pragma once
#include "product.cuh"

struct Eight { Floats low, high; };   // columns that follow each other, as a chunk of 16-bit values has them

// Calls `keep(column, load(column))` for every eighth column, spread over the block's threads. AT_ONCE loads are under
// way before the first is used.
template <int THREADS, int AT_ONCE, class Load, class Keep>
DEVICE void for_each_chunk(int columns, Load load, Keep keep) {
#pragma unroll 1
    for (int start = threadIdx.x * 8; start < columns; start += THREADS * 8 * AT_ONCE) {
        decltype(load(0)) loaded[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i)
            if (start + i * THREADS * 8 < columns) loaded[i] = load(start + i * THREADS * 8);
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i)
            if (start + i * THREADS * 8 < columns) keep(start + i * THREADS * 8, loaded[i]);
    }
}

template <int THREADS> DEVICE void clear_padding(Bits16* row, int columns) {
#pragma unroll 1
    for (int column = columns + threadIdx.x; column < padded(columns); column += THREADS) row[column] = 0;
}

// x (batch, columns) of the format's type.
template <class Format, int THREADS>
DEVICE void bring(Bits16* activations, const Bits16* x, int columns, int batch) {
#pragma unroll 1
    for (int sequence = 0; sequence < batch; ++sequence, x += columns) {
        Bits16* row = activations + sequence * stride_of(columns);
        for_each_chunk<THREADS, 4>(
            columns, [&](int column) { return *reinterpret_cast<const Chunk*>(x + column); },
            [&](int column, const Chunk& chunk) {
                *reinterpret_cast<Chunk*>(row + column) = Format::arranged(chunk);
            });
        clear_padding<THREADS>(row, columns);
    }
}

DEVICE Eight load_eight(const float* x) {
    return {*reinterpret_cast<const Floats*>(x), *reinterpret_cast<const Floats*>(x + 4)};
}

// This thread's part of the sum of squares of a row.
template <int THREADS> DEVICE float sum_of_squares(const float* x, int columns) {
    float sum = 0;
    for_each_chunk<THREADS, 2>(
        columns, [&](int column) { return load_eight(x + column); },
        [&](int, const Eight& eight) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                sum += eight.low.value[i] * eight.low.value[i] + eight.high.value[i] * eight.high.value[i];
        });
    return sum;
}

template <class T> DEVICE Chunk normed(const Eight& x, float factor, const Chunk& norm) {
    Chunk chunk;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const Floats& four = i < 2 ? x.low : x.high;
        float first = four.value[i % 2 * 2] * factor, second = four.value[i % 2 * 2 + 1] * factor;
        chunk.word[i] = pair_of<T>(first * T::wide(norm.word[i]), second * T::wide(norm.word[i] >> 16));
    }
    return chunk;
}

// A norm's weights are read by all blocks at once, behind waiting; so they are brought nearer before.
DEVICE void prefetch_norm(const Bits16* norm, int columns) {
    if (threadIdx.x == 0) prefetch(norm, columns * sizeof(Bits16));
}

// x (batch, columns) float32.
template <class Format, int THREADS>
DEVICE void bring_narrowed(Bits16* activations, const float* x, int columns, int batch) {
    typedef typename Format::Type T;
#pragma unroll 1
    for (int sequence = 0; sequence < batch; ++sequence, x += columns) {
        Bits16* row = activations + sequence * stride_of(columns);
        for_each_chunk<THREADS, 2>(
            columns, [&](int column) { return load_eight(x + column); },
            [&](int column, const Eight& eight) {
                const float *low = eight.low.value, *high = eight.high.value;
                Chunk chunk = {pair_of<T>(low[0], low[1]), pair_of<T>(low[2], low[3]),
                               pair_of<T>(high[0], high[1]), pair_of<T>(high[2], high[3])};
                *reinterpret_cast<Chunk*>(row + column) = Format::arranged(chunk);
            });
        clear_padding<THREADS>(row, columns);
    }
}

// x (batch, columns) float32, each row divided by its root mean square and multiplied by norm (columns).
// `sums`: scratch of (batch, warps) floats.
template <class Format, int THREADS>
DEVICE void bring_normed(Bits16* activations, float* sums, const float* x, const Bits16* norm, float eps, int columns,
                         int batch) {
    constexpr int WARPS = THREADS / WARP;
#pragma unroll 1
    for (int sequence = 0; sequence < batch; ++sequence) {
        float square = sum_of_squares<THREADS>(x + sequence * columns, columns);
        for (int mask = WARP / 2; mask; mask /= 2) square += shuffle_xor(square, mask);
        if (threadIdx.x % WARP == 0) sums[sequence * WARPS + threadIdx.x / WARP] = square;
    }
    barrier();
    struct Loaded { Eight x; Chunk norm; };
#pragma unroll 1
    for (int sequence = 0; sequence < batch; ++sequence, x += columns) {
        float square = 0;
#pragma unroll
        for (int warp = 0; warp < WARPS; ++warp) square += sums[sequence * WARPS + warp];
        float factor = inverse_root(square / columns + eps);
        Bits16* row = activations + sequence * stride_of(columns);
        for_each_chunk<THREADS, 2>(
            columns,
            [&](int column) {
                return Loaded{load_eight(x + column), *reinterpret_cast<const Chunk*>(norm + column)};
            },
            [&](int column, const Loaded& loaded) {
                Chunk chunk = normed<typename Format::Type>(loaded.x, factor, loaded.norm);
                *reinterpret_cast<Chunk*>(row + column) = Format::arranged(chunk);
            });
        clear_padding<THREADS>(row, columns);
    }
}
