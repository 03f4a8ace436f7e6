// The kernels' primitives for the host's compiler, so that their arithmetic can be tested without a GPU: every thread of
// a block is a fiber, and runs until it waits for its block or its warp. Blocks run one after the other, so that a
// kernel that waits for another block would hang here. What it does not show: races, speed, the device's rounding
// within a product of tensor cores (here float64, rounded once).
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <vector>

#define DEVICE inline
#define KERNEL(threads, blocks_an_sm) extern "C" void
#define UNCHANGED

typedef unsigned short Bits16;
typedef unsigned int Pair;
using std::min;

constexpr int WARP = 32;

struct alignas(16) Chunk { unsigned int word[4]; };
struct alignas(16) Floats { float value[4]; };
struct alignas(8) Pairs { Pair word[2]; };

struct Place { int x, y, z; };
inline Place threadIdx, blockIdx, blockDim, gridDim;

namespace fibers {
struct Sync { int arrived = 0, times = 0; };
struct Lane { Pair a[4], b[2]; float shuffled; };
struct Copy { void* to; Chunk what; };
struct Fiber { ucontext_t context; bool done; std::deque<std::vector<Copy>> copies; std::vector<Copy> open; };

inline ucontext_t scheduler;
inline std::vector<Fiber> all;
inline std::vector<Lane> lanes;
inline std::vector<Sync> warps;
inline Sync block;
inline std::vector<Chunk> shared;
inline const std::function<void()>* work;

inline void meet(Sync& sync, int threads) {
    int now = sync.times;
    if (++sync.arrived == threads) { sync.arrived = 0; ++sync.times; }
    while (sync.times == now) swapcontext(&all[threadIdx.x].context, &scheduler);
}
inline void meet_warp() { meet(warps[threadIdx.x / WARP], WARP); }
inline void run_one() { (*work)(); all[threadIdx.x].done = true; }

inline void run_block(int threads, size_t shared_bytes) {
    constexpr size_t STACK = 1 << 17;
    static std::vector<char> stacks;
    stacks.resize(threads * STACK);
    all.assign(threads, {}); lanes.assign(threads, {}); warps.assign(threads / WARP, {}); block = {};
    Chunk noise; std::memset(&noise, 0xff, sizeof noise);   // NaNs: nothing may be read that was not written
    shared.assign(shared_bytes / sizeof(Chunk) + 1, noise);
    for (int i = 0; i < threads; ++i) {
        getcontext(&all[i].context);
        all[i].context.uc_stack.ss_sp = stacks.data() + i * STACK;
        all[i].context.uc_stack.ss_size = STACK;
        all[i].context.uc_link = &scheduler;
        makecontext(&all[i].context, run_one, 0);
    }
    for (int left = threads; left;)
        for (int i = left = 0; i < threads; ++i) {
            if (all[i].done) continue;
            threadIdx = {i, 0, 0};
            swapcontext(&scheduler, &all[i].context);
            left += !all[i].done;
        }
}

inline void run_grid(Place grid, int threads, size_t shared_bytes, const std::function<void()>& kernel) {
    work = &kernel; gridDim = grid; blockDim = {threads, 1, 1};
    // Backwards, so that the last block of a head is another one than the last in number.
    for (int z = grid.z - 1; z >= 0; --z)
        for (int y = grid.y - 1; y >= 0; --y)
            for (int x = grid.x - 1; x >= 0; --x) { blockIdx = {x, y, z}; run_block(threads, shared_bytes); }
}
}  // namespace fibers

template <class T> void multiply_lanes(float (&c)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    int lane = threadIdx.x % WARP, row = lane / 4, column = lane % 4 * 2;
    fibers::Lane* warp = &fibers::lanes[threadIdx.x - lane];
    Pair mine[6] = {a0, a1, a2, a3, b0, b1};
    std::memcpy(warp[lane].a, mine, sizeof mine);
    fibers::meet_warp();
    for (int i = 0; i < 4; ++i) {
        double sum = c[i];
        for (int k = 0; k < 16; ++k) {
            Pair a = warp[4 * row + k % 8 / 2].a[i / 2 + k / 8 * 2];
            Pair b = warp[4 * (column + i % 2) + k % 8 / 2].b[k / 8];
            sum += double(T::wide(a >> 16 * (k % 2))) * double(T::wide(b >> 16 * (k % 2)));
        }
        c[i] = float(sum);
    }
    fibers::meet_warp();
}

template <class T> Pair fma_pairs(Pair a, Pair b, Pair c) {
    auto one = [&](int shift) -> Pair {
        double sum = double(T::wide(a >> shift)) * T::wide(b >> shift) + T::wide(c >> shift);
        return T::narrow(float(sum));
    };
    return one(0) | one(16) << 16;
}

struct Half {
    static float wide(Bits16 x) { _Float16 y; std::memcpy(&y, &x, 2); return y; }
    static Bits16 narrow(float x) { _Float16 y = x; Bits16 z; std::memcpy(&z, &y, 2); return z; }
    static Pair fma(Pair a, Pair b, Pair c) { return fma_pairs<Half>(a, b, c); }
    static Pair from_half(Pair x) { return x; }
    static void multiply(float (&c)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
        multiply_lanes<Half>(c, a0, a1, a2, a3, b0, b1);
    }
};

struct Bfloat {
    static float wide(Bits16 x) { unsigned int y = x << 16; float z; std::memcpy(&z, &y, 4); return z; }
    static Bits16 narrow(float x) {
        unsigned int y; std::memcpy(&y, &x, 4);
        return (y + 0x7fff + (y >> 16 & 1)) >> 16;
    }
    static Pair fma(Pair a, Pair b, Pair c) { return fma_pairs<Bfloat>(a, b, c); }
    static Pair from_half(Pair x) { return narrow(Half::wide(x)) | Pair(narrow(Half::wide(x >> 16))) << 16; }
    static void multiply(float (&c)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
        multiply_lanes<Bfloat>(c, a0, a1, a2, a3, b0, b1);
    }
};

template <class T> Pair pair_of(float low, float high) { return T::narrow(low) | Pair(T::narrow(high)) << 16; }

inline unsigned int bytes_of(unsigned int a, unsigned int b, unsigned int order) {
    unsigned long long both = a | static_cast<unsigned long long>(b) << 32;
    unsigned int all = 0;
    for (int i = 0; i < 4; ++i) all |= unsigned(both >> (order >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return all;
}

inline Chunk load_weights(const void* address) {
    if (reinterpret_cast<size_t>(address) % sizeof(Chunk)) std::abort();   // the device faults
    Chunk x; std::memcpy(&x, address, sizeof x); return x;
}
// As late as the device may: when they are waited for.
inline void copy_weights(void* shared, const void* address, bool there) {
    fibers::all[threadIdx.x].open.push_back({shared, there ? load_weights(address) : Chunk{}});
}
inline void end_copies() {
    fibers::Fiber& fiber = fibers::all[threadIdx.x];
    fiber.copies.push_back(std::move(fiber.open));
    fiber.open.clear();
}
template <int LATER> void wait_for_copies() {
    auto& copies = fibers::all[threadIdx.x].copies;
    for (; copies.size() > LATER; copies.pop_front())
        for (const fibers::Copy& copy : copies.front()) std::memcpy(copy.to, &copy.what, sizeof copy.what);
}
inline Chunk load_cached(const void* address) { return load_weights(address); }
inline float load_scale(const float* address) { return *address; }
inline Bits16 load_scale(const Bits16* address) { return *address; }
inline float load_from_blocks(const float* address) { return *address; }

inline char* shared_memory() { return reinterpret_cast<char*>(fibers::shared.data()); }
inline void barrier() { fibers::meet(fibers::block, blockDim.x); }
inline float shuffle_xor(float x, int mask) {
    fibers::lanes[threadIdx.x].shuffled = x;
    fibers::meet_warp();
    float y = fibers::lanes[threadIdx.x ^ mask].shuffled;
    fibers::meet_warp();
    return y;
}
inline float exp2_of(float x) { return std::exp2(x); }
inline float minus_infinity() { return -std::numeric_limits<float>::infinity(); }
inline float inverse_root(float x) { return 1.0f / std::sqrt(x); }
inline int draw_ticket(int* counter) { return (*counter)++; }
inline void let_next_start() {}
inline void wait_for_previous() {}
inline void prefetch(const void* address, unsigned int bytes) {
    if (bytes % 16 || reinterpret_cast<size_t>(address) % 16) std::abort();
}
