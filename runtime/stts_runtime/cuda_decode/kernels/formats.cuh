// How weights lie in memory and become operands of a tensor-core product: one load path each.
//
// A weight matrix is (rows N, columns K), a row's values side by side. Of a tile of 16 rows, lane 4g + t of a warp
// reads 16 bytes of row g and of row g + 8. A product sums over columns, in any order as long as both operands have
// the same: so lane t takes PER_LANE columns that follow each other, a step of a warp is 4 x PER_LANE columns, and
// nothing is moved between lanes. `arranged` is the order of eight activations that a format's words ask for.
//
// | format | 16 bytes hold | a step of a warp | scales |
// | --- | --- | --- | --- |
// | Dense  | 8 values   | 32 columns  | none |
// | Float8 | 16 e4m3    | 64 columns  | float32, one for 128 columns of a row |
// | Int4   | 32 nibbles | 128 columns | of type T, one for 32 columns of a row (MatMulNBits, symmetric, zero at 8) |
#pragma once
#include <primitives.cuh>  // of the device, or of the host in tests

struct Weights {
    const char* values;
    const char* scales;          // unused by Dense
    int rows, columns;           // columns are a multiple of 32
};

// Adds (a tile's 16 rows) x (8 columns of activations) for words `low` of row g and `high` of row g + 8.
template <class T> DEVICE void add_chunks(float (&sum)[4], const Chunk& low, const Chunk& high, const Chunk& x) {
    T::multiply(sum, low.word[0], high.word[0], low.word[1], high.word[1], x.word[0], x.word[1]);
    T::multiply(sum, low.word[2], high.word[2], low.word[3], high.word[3], x.word[2], x.word[3]);
}

template <class T> struct Dense {
    typedef T Type;
    static constexpr int PER_LANE = 8, BITS = 16;
    struct Scales {};
    struct ScaleRows {};
    static DEVICE Chunk arranged(const Chunk& x) { return x; }
    static DEVICE ScaleRows scale_rows(const Weights&, int, int) { return {}; }
    static DEVICE void load_scales(Scales&, const ScaleRows&, int) {}
    static DEVICE void add(float (&sum)[4], const Chunk& low, const Chunk& high, const Scales&, const Chunk* x) {
        add_chunks<T>(sum, low, high, x[0]);
    }
};

// e4m3 as binary16, 256 times too small: the same bits with the exponent's place widened, subnormals too.
DEVICE Pair e4m3_over_256(unsigned int four, unsigned int order) {
    unsigned int x = bytes_of(four, 0, order);
    return (x & 0x80008000) | ((x & 0x7f007f00) >> 1);
}

template <class T> struct Float8 {
    typedef T Type;
    static constexpr int PER_LANE = 16, BITS = 8, BLOCK = 128;
    struct Scales { float low, high; };
    struct ScaleRows { const float *low, *high; };
    static DEVICE Chunk arranged(const Chunk& x) { return x; }
    static DEVICE ScaleRows scale_rows(const Weights& weights, int low, int high) {
        const float* all = reinterpret_cast<const float*>(weights.scales);
        long blocks = (weights.columns + BLOCK - 1) / BLOCK;
        return {all + low * blocks, all + high * blocks};
    }
    static DEVICE void load_scales(Scales& scales, const ScaleRows& rows, int column) {
        scales.low = load_scale(rows.low + column / BLOCK);
        scales.high = load_scale(rows.high + column / BLOCK);
    }
    static DEVICE Chunk widened(unsigned int first, unsigned int second) {
        return {T::from_half(e4m3_over_256(first, 0x1404)), T::from_half(e4m3_over_256(first, 0x3424)),
                T::from_half(e4m3_over_256(second, 0x1404)), T::from_half(e4m3_over_256(second, 0x3424))};
    }
    // All columns of a step have one scale a row, so that the sum is scaled and not the weights.
    static DEVICE void add(float (&sum)[4], const Chunk& low, const Chunk& high, const Scales& scales, const Chunk* x) {
        float part[4] = {0, 0, 0, 0};
        add_chunks<T>(part, widened(low.word[0], low.word[1]), widened(high.word[0], high.word[1]), x[0]);
        add_chunks<T>(part, widened(low.word[2], low.word[3]), widened(high.word[2], high.word[3]), x[1]);
        float of_low = scales.low * 256, of_high = scales.high * 256;
        sum[0] += of_low * part[0]; sum[1] += of_low * part[1];
        sum[2] += of_high * part[2]; sum[3] += of_high * part[3];
    }
};

template <class T> struct Int4 {
    typedef T Type;
    static constexpr int PER_LANE = 32, BITS = 4, BLOCK = 32;
    struct Scales { Bits16 low, high; };
    struct ScaleRows { const Bits16 *low, *high; };
    // A mask takes every fourth nibble of a word, so eight activations lie in the order 0 4 1 5 2 6 3 7.
    static DEVICE Chunk arranged(const Chunk& x) {
        return {bytes_of(x.word[0], x.word[2], 0x5410), bytes_of(x.word[0], x.word[2], 0x7632),
                bytes_of(x.word[1], x.word[3], 0x5410), bytes_of(x.word[1], x.word[3], 0x7632)};
    }
    static DEVICE ScaleRows scale_rows(const Weights& weights, int low, int high) {
        const Bits16* all = reinterpret_cast<const Bits16*>(weights.scales);
        long blocks = weights.columns / BLOCK;
        return {all + low * blocks, all + high * blocks};
    }
    static DEVICE void load_scales(Scales& scales, const ScaleRows& rows, int column) {
        scales.low = load_scale(rows.low + column / BLOCK);
        scales.high = load_scale(rows.high + column / BLOCK);
    }
    // Nibbles become mantissas of a number whose last bit is worth one; taking that number and 8 away is exact.
    static DEVICE Chunk widened(unsigned int eight, Bits16 scale) {
        Pair scales = scale | static_cast<Pair>(scale) << 16;
        Chunk pairs;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            Pair offset = ((eight >> 4 * i) & 0x000f000f) | T::INT4_OFFSET;
            pairs.word[i] = T::fma(T::fma(offset, T::ONES, T::MINUS_INT4_OFFSET), scales, 0x80008000);
        }
        return pairs;
    }
    static DEVICE void add(float (&sum)[4], const Chunk& low, const Chunk& high, const Scales& scales, const Chunk* x) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            add_chunks<T>(sum, widened(low.word[i], scales.low), widened(high.word[i], scales.high), x[i]);
    }
};
