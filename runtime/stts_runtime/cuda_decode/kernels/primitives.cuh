// What the kernels ask of the device beyond C++: 16-bit arithmetic, tensor-core products, loads with hints, order
// between kernels. tests/support/cuda_on_cpu/primitives.cuh has the same names for the host's compiler.
//
// No header of CUDA's own is included: NVRTC alone compiles this. Everything that compute_90 has and compute_80 lacks
// stands here, behind __CUDA_ARCH__.
#pragma once

#define DEVICE __device__ __forceinline__
#define KERNEL(threads, blocks_an_sm) extern "C" __global__ void __launch_bounds__(threads, blocks_an_sm)
#define UNCHANGED const __grid_constant__     // a parameter that may be indexed where it lies

typedef unsigned short Bits16;   // a value of 16 bits, whatever its type
typedef unsigned int Pair;       // two of them, the first in the lower half

constexpr int WARP = 32;

struct __align__(16) Chunk { unsigned int word[4]; };   // 16 bytes, as loads like them
struct __align__(16) Floats { float value[4]; };
struct __align__(8) Pairs { Pair word[2]; };

struct Half {                    // IEEE binary16
    static DEVICE float wide(Bits16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
    static DEVICE Bits16 narrow(float x) { Bits16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
    static DEVICE Pair fma(Pair a, Pair b, Pair c) {
        Pair d; asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c)); return d;
    }
    static DEVICE Pair from_half(Pair x) { return x; }
    // c (16 x 8) += a (16 x 16) b (16 x 8), in float32; who holds what: product.cuh.
    static DEVICE void multiply(float (&c)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

struct Bfloat {                  // the upper half of a float32
    static DEVICE float wide(Bits16 x) { return __uint_as_float(static_cast<unsigned int>(x) << 16); }
    static DEVICE Bits16 narrow(float x) { Bits16 y; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
    static DEVICE Pair fma(Pair a, Pair b, Pair c) {
        Pair d; asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c)); return d;
    }
    static DEVICE Pair from_half(Pair x) {
        return narrow(Half::wide(x & 0xffff)) | static_cast<Pair>(narrow(Half::wide(x >> 16))) << 16;
    }
    static DEVICE void multiply(float (&c)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

template <class T> DEVICE Pair pair_of(float low, float high) {
    return T::narrow(low) | static_cast<Pair>(T::narrow(high)) << 16;
}

// Bytes of a (numbers 0 to 3) and b (4 to 7), one number in every four bits of `order`, the lowest byte first.
DEVICE unsigned int bytes_of(unsigned int a, unsigned int b, unsigned int order) { return __byte_perm(a, b, order); }

// Weights: read once, by this block alone, so they pass by the L1 cache. Not by the path for constants (.nc), although
// they are: the assembler moves such loads behind `wait_for_previous`, and being ahead of it is the point of them.
DEVICE Chunk load_weights(const void* address) {
    Chunk x;
    asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3]) : "l"(address));
    return x;
}
// The same into shared memory, where they take no registers; zeros if they are not `there`. Nobody waits, until
// `wait_for_copies` waits for all that this thread asked for before its last LATER calls of `end_copies`.
DEVICE void copy_weights(void* shared, const void* address, bool there) {
    unsigned int place = static_cast<unsigned int>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;"
                 :: "r"(place), "l"(address), "r"(there ? 16 : 0) : "memory");
}
DEVICE void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LATER> DEVICE void wait_for_copies() { asm volatile("cp.async.wait_group %0;" :: "n"(LATER) : "memory"); }
DEVICE float load_scale(const float* address) {
    float x; asm volatile("ld.global.f32 %0, [%1];" : "=f"(x) : "l"(address)); return x;
}
DEVICE Bits16 load_scale(const Bits16* address) {
    Bits16 x; asm volatile("ld.global.u16 %0, [%1];" : "=h"(x) : "l"(address)); return x;
}
// Caches: written by this block at times, so not by the path for what never changes.
DEVICE Chunk load_cached(const void* address) {
    Chunk x;
    asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3]) : "l"(address) : "memory");
    return x;
}
// What another block of this kernel wrote: from the L2 cache, where all see the same.
DEVICE float load_from_blocks(const float* address) {
    float x; asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(x) : "l"(address) : "memory"); return x;
}

DEVICE char* shared_memory() { extern __shared__ __align__(16) char shared[]; return shared; }
DEVICE void barrier() { __syncthreads(); }
DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffff, x, mask); }
DEVICE float exp2_of(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEVICE float minus_infinity() { return __int_as_float(0xff800000); }
DEVICE float inverse_root(float x) { return 1.0f / sqrtf(x); }

// How many blocks drew a ticket before; everything that they wrote before is seen by who draws later.
DEVICE int draw_ticket(int* counter) {
    __threadfence();
    int ticket = atomicAdd(counter, 1);
    __threadfence();
    return ticket;
}

// Programmatic dependent launch. After `let_next_start` by all blocks the next kernel's blocks take free places, load
// their weights and wait; after `wait_for_previous` all that earlier kernels wrote is there.
DEVICE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Asks for `bytes` (a multiple of 16) to be brought into the L2 cache; nobody waits. Without dependent launches there
// is no time to do it in.
DEVICE void prefetch(const void* address, unsigned int bytes) {
#if __CUDA_ARCH__ >= 900
    if (bytes) asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" :: "l"(address), "r"(bytes) : "memory");
#endif
}
