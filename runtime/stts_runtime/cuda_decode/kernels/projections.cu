// The four products of a decoder layer. Shapes at Molmo2-4B's size, B sequences of one token each:
//
// | kernel | in | weights | out | bytes of weights in 16 bits |
// | --- | --- | --- | --- | --- |
// | qkv    | x (B, 2560) float32       | (6144, 2560)     | raw (B, 6144) float32          | 31.5 MB |
// | output | attended (B, 4096) 16 bit | (2560, 4096)     | x += (B, 2560) float32         | 21.0 MB |
// | gated  | x (B, 2560) float32       | 2 x (9728, 2560) | hidden (B, 9728) 16 bit        | 99.6 MB |
// | down   | hidden (B, 9728) 16 bit   | (2560, 9728)     | x += (B, 2560) float32         | 49.8 MB |
//
// x is the residual stream. In Qwen3's form (NORMS_AHEAD 1) `qkv` and `gated` norm it ahead of their products. In OLMo 3's
// (0) they take it as it is, and where the table has x +=, `output` and `down` write their rows, which residual.cu norms
// and adds. Grid: rows / (16 x TILES) blocks. FORMAT, and of each kernel WARPS, TILES (of 16 rows; of
// `gated` half of them are of gate, half of up), AHEAD (steps under way), HELD (where they go: InRegisters, InShared) and
// RESIDENT (warps that an SM's registers are to be enough for) come from the compiler's command line.
#include "activations.cuh"

#define PRODUCT_KERNEL(warps, resident) KERNEL(warps * WARP, resident / warps)

// Everything but what a kernel does with the sums: `finish(row, sequence)` for each of the block's first `rows`, where
// `product.total` has its sum. `bring(activations, scratch)` is called once the kernel before is done.
template <class Product, class Bring, class Finish>
DEVICE void run_block(Product& product, int rows, int batch, Bring bring, Finish finish) {
    Bits16* activations = reinterpret_cast<Bits16*>(shared_memory() + product.held_bytes());
    float* sums = reinterpret_cast<float*>(activations + batch * stride_of(product.columns));
    let_next_start();
    product.begin();
    wait_for_previous();
    bring(activations, sums);
    product.wait_for_scales();
    barrier();
    product.run(activations, batch);
    product.share(sums);
    barrier();
#pragma unroll 1
    for (int i = threadIdx.x; i < rows * batch; i += blockDim.x) finish(sums, i % rows, i / rows);
}

DEVICE void prefetch_norm_ahead(const Bits16* norm, int columns) {
    if constexpr (NORMS_AHEAD) prefetch_norm(norm, columns);
}

template <int THREADS>
DEVICE void bring_residual(Bits16* activations, float* sums, const float* x, const Bits16* norm, float eps, int columns,
                           int batch) {
    if constexpr (NORMS_AHEAD) bring_normed<FORMAT, THREADS>(activations, sums, x, norm, eps, columns, batch);
    else bring_narrowed<FORMAT, THREADS>(activations, x, columns, batch);
}

template <class Product>
DEVICE int take_tiles(Product& product, const Weights& weights, int tiles) {
    int first = blockIdx.x * tiles * TILE;
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile) product.take(tile, weights, first + tile * TILE);
    return first;
}

PRODUCT_KERNEL(QKV_WARPS, QKV_RESIDENT) qkv(Weights weights, const float* x, const Bits16* norm, float eps, float* raw,
                              int batch) {
    typedef Product<FORMAT, QKV_TILES, QKV_WARPS, QKV_AHEAD, QKV_HELD> Rows;
    Rows product;
    int first = take_tiles(product, weights, QKV_TILES);
    prefetch_norm_ahead(norm, weights.columns);
    run_block(product, QKV_TILES * TILE, batch,
        [&](Bits16* activations, float* scratch) {
            bring_residual<QKV_WARPS * WARP>(activations, scratch, x, norm, eps, weights.columns, batch);
        },
        [&](const float* sums, int row, int sequence) {
            if (first + row < weights.rows)
                raw[sequence * weights.rows + first + row] = Rows::total(sums, row, sequence);
        });
}

template <int TILES, int WARPS, int AHEAD, template <int, int, int> class Held>
DEVICE void add_product(const Weights& weights, const Bits16* input, float* x, int batch) {
    typedef Product<FORMAT, TILES, WARPS, AHEAD, Held> Rows;
    Rows product;
    int first = take_tiles(product, weights, TILES);
    run_block(product, TILES * TILE, batch,
        [&](Bits16* activations, float*) {
            bring<FORMAT, WARPS * WARP>(activations, input, weights.columns, batch);
        },
        [&](const float* sums, int row, int sequence) {
            if (first + row >= weights.rows) return;
            float& place = x[sequence * weights.rows + first + row];
            if constexpr (NORMS_AHEAD) place += Rows::total(sums, row, sequence);
            else place = Rows::total(sums, row, sequence);
        });
}

PRODUCT_KERNEL(OUTPUT_WARPS, OUTPUT_RESIDENT) output(Weights weights, const Bits16* attended, float* x, int batch) {
    add_product<OUTPUT_TILES, OUTPUT_WARPS, OUTPUT_AHEAD, OUTPUT_HELD>(weights, attended, x, batch);
}

PRODUCT_KERNEL(DOWN_WARPS, DOWN_RESIDENT) down(Weights weights, const Bits16* hidden, float* x, int batch) {
    add_product<DOWN_TILES, DOWN_WARPS, DOWN_AHEAD, DOWN_HELD>(weights, hidden, x, batch);
}

PRODUCT_KERNEL(GATED_WARPS, GATED_RESIDENT) gated(Weights gate, Weights up, const float* x, const Bits16* norm, float eps,
                                  Bits16* hidden, int batch) {
    typedef Product<FORMAT, GATED_TILES, GATED_WARPS, GATED_AHEAD, GATED_HELD> Rows;
    constexpr int HALF = GATED_TILES / 2, ROWS = HALF * TILE;
    Rows product;
    int first = blockIdx.x * ROWS;
#pragma unroll
    for (int tile = 0; tile < HALF; ++tile) {
        product.take(tile, gate, first + tile * TILE);
        product.take(HALF + tile, up, first + tile * TILE);
    }
    prefetch_norm_ahead(norm, gate.columns);
    run_block(product, ROWS, batch,
        [&](Bits16* activations, float* scratch) {
            bring_residual<GATED_WARPS * WARP>(activations, scratch, x, norm, eps, gate.columns, batch);
        },
        [&](const float* sums, int row, int sequence) {
            if (first + row >= gate.rows) return;
            float of_gate = Rows::total(sums, row, sequence), of_up = Rows::total(sums, ROWS + row, sequence);
            float silu = of_gate / (1 + exp2_of(of_gate * -1.44269504f));
            hidden[sequence * gate.rows + first + row] = FORMAT::Type::narrow(silu * of_up);
        });
}
