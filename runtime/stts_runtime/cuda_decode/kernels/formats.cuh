// How weights lie in memory and become operands of a tensor-core product: one load path each.
//
// A weight matrix is (rows N, columns K), a row's values side by side. Of a tile of 16 rows, lane 4g + t of a warp
// reads 16 bytes of row g and of row g + 8. A product sums over columns, in any order as long as both operands have
// the same: so lane t takes PER_LANE columns that follow each other, a step of a warp is 4 x PER_LANE columns, and
// nothing is moved between lanes. `arranged` is the order of eight activations that a format's words ask for. Sums are
// FACTOR times too small until they are read.
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
    typedef Bits16 Scale;   // there are none
    static constexpr int PER_LANE = 8, BITS = 16, BLOCK = 0;
    static constexpr float FACTOR = 1;
    struct Scales {};
    static DEVICE Chunk arranged(const Chunk& x) { return x; }
    static DEVICE Scales scales(const Scale*, const Scale*, int) { return {}; }
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
    typedef float Scale;
    static constexpr int PER_LANE = 16, BITS = 8, BLOCK = 128;
    static constexpr float FACTOR = 256;
    struct Scales { float low, high; };
    static DEVICE Chunk arranged(const Chunk& x) { return x; }
    static DEVICE Scales scales(const Scale* low, const Scale* high, int column) {
        return {low[column / BLOCK], high[column / BLOCK]};
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
        sum[0] += scales.low * part[0]; sum[1] += scales.low * part[1];
        sum[2] += scales.high * part[2]; sum[3] += scales.high * part[3];
    }
};

DEVICE Pair both(Bits16 x) { return x | static_cast<Pair>(x) << 16; }
constexpr Pair NOTHING = 0x80008000;   // -0, which added changes nothing

// (nibble - 8) x scale / FACTOR as 16 bits, rounded once; pair i of a word has its nibbles i and i + 4.
template <class T> struct Nibbles;

// A nibble in bits 6 to 9 is a subnormal number, 2^-18 of it. Scales may be up to 0.999, and as little as one likes.
template <> struct Nibbles<Half> {
    static constexpr float FACTOR = 4;
    Pair scale, zero;
    DEVICE explicit Nibbles(Bits16 one) {
        constexpr Pair TIMES_256 = 0x5c005c00, TIMES_MINUS_2 = 0xc000c000;
        scale = Half::fma(Half::fma(both(one), TIMES_256, NOTHING), TIMES_256, NOTHING);
        zero = Half::fma(both(one), TIMES_MINUS_2, NOTHING);
    }
    DEVICE Pair pair(unsigned int eight, int i) const {
        unsigned int shifted = i < 2 ? eight << (6 - 4 * i) : eight >> (4 * i - 6);
        return Half::fma(shifted & 0x03c003c0, scale, zero);
    }
};

// bfloat16 has too few digits for that. A nibble is the last digits of 128 + itself; taking 136 away is exact.
template <> struct Nibbles<Bfloat> {
    static constexpr float FACTOR = 1;
    Pair scale;
    DEVICE explicit Nibbles(Bits16 one) : scale(both(one)) {}
    DEVICE Pair pair(unsigned int eight, int i) const {
        constexpr Pair TIMES_1 = 0x3f803f80, OF_128 = 0x43004300, MINUS_136 = 0xc308c308;
        Pair offset = ((eight >> 4 * i) & 0x000f000f) | OF_128;
        return Bfloat::fma(Bfloat::fma(offset, TIMES_1, MINUS_136), scale, NOTHING);
    }
};

template <class T> struct Int4 {
    typedef T Type;
    typedef Bits16 Scale;
    static constexpr int PER_LANE = 32, BITS = 4, BLOCK = 32;
    static constexpr float FACTOR = Nibbles<T>::FACTOR;
    struct Scales { Bits16 low, high; };
    // A mask takes every fourth nibble of a word, so eight activations lie in the order 0 4 1 5 2 6 3 7.
    static DEVICE Chunk arranged(const Chunk& x) {
        return {bytes_of(x.word[0], x.word[2], 0x5410), bytes_of(x.word[0], x.word[2], 0x7632),
                bytes_of(x.word[1], x.word[3], 0x5410), bytes_of(x.word[1], x.word[3], 0x7632)};
    }
    static DEVICE Scales scales(const Scale* low, const Scale* high, int column) {
        return {low[column / BLOCK], high[column / BLOCK]};
    }
    static DEVICE Chunk widened(const Nibbles<T>& nibbles, unsigned int eight) {
        return {nibbles.pair(eight, 0), nibbles.pair(eight, 1), nibbles.pair(eight, 2), nibbles.pair(eight, 3)};
    }
    static DEVICE void add(float (&sum)[4], const Chunk& low, const Chunk& high, const Scales& scales, const Chunk* x) {
        Nibbles<T> of_low(scales.low), of_high(scales.high);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            add_chunks<T>(sum, widened(of_low, low.word[i]), widened(of_high, high.word[i]), x[i]);
    }
};
