// Rows of weights times up to eight rows of activations: what every kernel but attention is made of.
//
// A block owns TILES tiles of 16 weight rows and all their columns. Its warps take the steps of columns in turn, so
// that together they read lines that follow each other; their sums meet in shared memory and are added in the order of
// the warps, whichever was first. A warp has AHEAD steps of weights under way. They do not depend on the kernel before,
// so `begin` comes ahead of waiting for it.
//
// Lane 4g + t of a warp holds, of a tile's sums: row g, batch 2t and 2t + 1; row g + 8, batch 2t and 2t + 1.
//
// Scales lie in shared memory: lanes read so few bytes of so many rows that loads of their own would take half as many
// lines of memory again as the weights.
//
// Shared memory: weights under way, if they go there; scales (16 x TILES, scale_stride(columns) bytes); activations, 2
// bytes each, (batch, stride_of(columns)); sums (warps, 16 x TILES, 8) float32.
#pragma once
#include "formats.cuh"

constexpr int BATCH = 8;         // columns of a tensor-core product
constexpr int TILE = 16;         // rows of one

// Activations of a sequence: columns up to whole steps of the widest format, and half a line of 128 bytes, so that two
// sequences lie in different banks.
DEVICE int padded(int columns) { return (columns + 127) / 128 * 128; }
DEVICE int stride_of(int columns) { return padded(columns) + 32; }

// Scales of a row, and the bytes from one row's to the next in shared memory: whole chunks, and one that keeps rows in
// different banks.
template <class Format> DEVICE int scales_of_row(int columns) {
    if constexpr (Format::BLOCK == 0) return 0;
    else return (columns + Format::BLOCK - 1) / Format::BLOCK;
}
template <class Format> DEVICE int scale_stride(int columns) {
    constexpr int CHUNK = sizeof(Chunk);
    int bytes = scales_of_row<Format>(columns) * sizeof(typename Format::Scale);
    return Format::BLOCK == 0 ? 0 : (bytes + CHUNK - 1) / CHUNK * CHUNK + CHUNK;
}

struct Part { Chunk low, high; };   // of a tile, what a lane holds of a step: of row g and of row g + 8

// Weights under way in registers. A warp has six counters to wait with, so of many steps two share one, and the earlier
// waits for the later too.
template <int TILES, int THREADS, int AHEAD> struct InRegisters {
    static constexpr int SHARED_BYTES = 0;
    Part parts[AHEAD][TILES];
    DEVICE void load(int place, int tile, const char* low, const char* high, bool there) {
        Part& part = parts[place][tile];
        part = Part{};
        if (!there) return;
        part.low = load_weights(low);
        part.high = load_weights(high);
    }
    DEVICE void end_step() {}
    DEVICE void wait_for_oldest() {}
    DEVICE void wait_for_copies_before() { wait_for_copies<0>(); }
    DEVICE Part part(int place, int tile) const { return parts[place][tile]; }
};

// Weights under way in shared memory. They arrive in the order of the steps; each lane reads what it asked for itself.
template <int TILES, int THREADS, int AHEAD> struct InShared {
    static constexpr int SHARED_BYTES = AHEAD * TILES * THREADS * sizeof(Part);
    static DEVICE Chunk* of_this_lane(int place, int tile) {
        return reinterpret_cast<Chunk*>(shared_memory()) + (place * TILES + tile) * 2 * THREADS + threadIdx.x;
    }
    DEVICE void load(int place, int tile, const char* low, const char* high, bool there) {
        copy_weights(of_this_lane(place, tile), low, there);
        copy_weights(of_this_lane(place, tile) + THREADS, high, there);
    }
    DEVICE void end_step() { end_copies(); }
    DEVICE void wait_for_oldest() { wait_for_copies<AHEAD - 1>(); }
    DEVICE void wait_for_copies_before() { wait_for_copies<AHEAD>(); }
    DEVICE Part part(int place, int tile) const {
        return {of_this_lane(place, tile)[0], of_this_lane(place, tile)[THREADS]};
    }
};

template <class Format, int TILES, int WARPS, int AHEAD, template <int, int, int> class Held> struct Product {
    static constexpr int STEP = 4 * Format::PER_LANE;
    typedef Held<TILES, WARPS * WARP, AHEAD> UnderWay;
    typedef typename Format::Scale Scale;

    int columns, group, lane, warp;
    struct Rows { const char *low, *high; } rows[TILES];
    UnderWay ahead;
    float sum[TILES][4];

    DEVICE Product() {
        lane = threadIdx.x % WARP; warp = threadIdx.x / WARP; group = lane / 4;
    }

    // Tile number `tile` begins with row `first`. Rows behind the last are read as the last; nobody asks for their sums.
    DEVICE void take(int tile, const Weights& weights, int first) {
        columns = weights.columns;
        int low = min(first + group, weights.rows - 1), high = min(first + group + 8, weights.rows - 1);
        long row_bytes = static_cast<long>(columns) * Format::BITS / 8;
        rows[tile].low = weights.values + low * row_bytes + lane % 4 * sizeof(Chunk);
        rows[tile].high = weights.values + high * row_bytes + lane % 4 * sizeof(Chunk);
        for (int i = 0; i < 4; ++i) sum[tile][i] = 0;
        bring_scales(tile, weights, first);
    }

    // Behind the last tile: issues the first loads.
    DEVICE void begin() {
        if (Format::BLOCK) end_copies();
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) load(i, warp + i * WARPS);
    }

    // Ahead of weights and scales, in bytes of shared memory.
    DEVICE int held_bytes() const { return UnderWay::SHARED_BYTES + TILES * TILE * scale_stride<Format>(columns); }

    // This thread's part; a barrier behind makes them everybody's.
    DEVICE void wait_for_scales() {
        if (Format::BLOCK) ahead.wait_for_copies_before();
    }

    // `activations` and scales are complete in shared memory.
    DEVICE void run(const Bits16* activations, int batch) {
        const Bits16* x = activations + min(group, batch - 1) * stride_of(columns) + lane % 4 * Format::PER_LANE;
        for (int step = warp; step * STEP < columns; step += AHEAD * WARPS) {
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                int now = step + i * WARPS;
                if (now * STEP >= columns) break;
                ahead.wait_for_oldest();
                add(i, now * STEP + lane % 4 * Format::PER_LANE, x + now * STEP);
                load(i, now + AHEAD * WARPS);
            }
        }
    }

    // Puts each warp's sums where `total` finds them.
    DEVICE void share(float* sums) const {
        float* mine = sums + warp * TILES * TILE * BATCH + group * BATCH + lane % 4 * 2;
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile, mine += TILE * BATCH) {
            mine[0] = sum[tile][0]; mine[1] = sum[tile][1];
            mine[8 * BATCH] = sum[tile][2]; mine[8 * BATCH + 1] = sum[tile][3];
        }
    }

    // Of row `row` of the block's 16 x TILES, behind a barrier.
    static DEVICE float total(const float* sums, int row, int sequence) {
        float all = 0;
#pragma unroll
        for (int warp = 0; warp < WARPS; ++warp) all += sums[(warp * TILES * TILE + row) * BATCH + sequence];
        return all * Format::FACTOR;
    }

private:
    static DEVICE char* scales_of(int row, int stride) { return shared_memory() + UnderWay::SHARED_BYTES + row * stride; }

    // Of a tile's rows, which follow each other, by all warps in turn.
    DEVICE void bring_scales(int tile, const Weights& weights, int first) {
        if (Format::BLOCK == 0) return;
        int count = scales_of_row<Format>(columns), stride = scale_stride<Format>(columns);
        const Scale* all = reinterpret_cast<const Scale*>(weights.scales);
        constexpr int OF_CHUNK = sizeof(Chunk) / sizeof(Scale);
        int apiece = count % OF_CHUNK ? 1 : OF_CHUNK;   // else rows do not begin at whole chunks
#pragma unroll 1
        for (int row = warp; row < TILE; row += WARPS) {
            const Scale* from = all + static_cast<long>(min(first + row, weights.rows - 1)) * count;
            Scale* to = reinterpret_cast<Scale*>(scales_of(tile * TILE + row, stride));
#pragma unroll 1
            for (int number = lane * apiece; number < count; number += WARP * apiece)
                if (apiece == 1) to[number] = load_scale(from + number);
                else copy_weights(to + number, from + number, true);
        }
    }

    DEVICE void load(int place, int step) {
        int column = step * STEP + lane % 4 * Format::PER_LANE;
        long offset = static_cast<long>(step) * (4 * sizeof(Chunk));
        if (step * STEP < columns)
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile)
                ahead.load(place, tile, rows[tile].low + offset, rows[tile].high + offset, column < columns);
        ahead.end_step();
    }

    // `x` of the lane's columns from `column` on.
    DEVICE void add(int place, int column, const Bits16* x) {
        int stride = scale_stride<Format>(columns);
        // A lane behind the last column has sums all the same, and they are scaled.
        column = min(column, columns - 1);
        Chunk chunks[Format::PER_LANE / 8];
#pragma unroll
        for (int i = 0; i < Format::PER_LANE / 8; ++i) chunks[i] = reinterpret_cast<const Chunk*>(x)[i];
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            Part part = ahead.part(place, tile);
            const Scale* low = reinterpret_cast<const Scale*>(scales_of(tile * TILE + group, stride));
            const Scale* high = reinterpret_cast<const Scale*>(scales_of(tile * TILE + group + 8, stride));
            Format::add(sum[tile], part.low, part.high, Format::scales(low, high, column), chunks);
        }
    }
};
