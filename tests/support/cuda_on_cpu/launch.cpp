// The kernels as functions of a shared library: grid, threads, bytes of shared memory, then a kernel's own arguments.
#include "projections.cu"
#include "attention.cu"

template <class... Parameters> struct Launch {
    void (*kernel)(Parameters...);
    template <class... Arguments> void operator()(const int* grid, size_t shared_bytes, Arguments... arguments) const {
        fibers::run_grid({grid[0], grid[1], grid[2]}, grid[3], shared_bytes, [&] { kernel(arguments...); });
    }
};
template <class... Parameters> Launch(void (*)(Parameters...)) -> Launch<Parameters...>;

extern "C" {
void run_qkv(const int* grid, size_t shared, Weights w, const float* x, const Bits16* norm, float eps, float* raw,
             int batch, unsigned int prefetched) {
    Launch{qkv}(grid, shared, w, x, norm, eps, raw, batch, prefetched);
}
void run_output(const int* grid, size_t shared, Weights w, const Bits16* in, float* x, int batch, unsigned int prefetched) {
    Launch{output}(grid, shared, w, in, x, batch, prefetched);
}
void run_down(const int* grid, size_t shared, Weights w, const Bits16* in, float* x, int batch, unsigned int prefetched) {
    Launch{down}(grid, shared, w, in, x, batch, prefetched);
}
void run_gated(const int* grid, size_t shared, Weights gate, Weights up, const float* x, const Bits16* norm, float eps,
               Bits16* hidden, int batch, unsigned int prefetched) {
    Launch{gated}(grid, shared, gate, up, x, norm, eps, hidden, batch, prefetched);
}
void run_attention(const int* grid, size_t shared, const float* raw, const Bits16* q_norm, const Bits16* k_norm,
                   float eps, const float* cos, const float* sin, const int* positions, const int* slots, Caches caches,
                   long slots_of_cache, int heads_of_key, float* partial, int* tickets, Bits16* attended) {
    Launch{attention}(grid, shared, raw, q_norm, k_norm, eps, cos, sin, positions, slots, caches, slots_of_cache,
                      heads_of_key, partial, tickets, attended);
}
}
