// Before and behind the layers: a token's row, and the token with the highest logit. Shapes at Molmo2-4B's size:
//
// | kernel | in | out | bytes |
// | --- | --- | --- | --- |
// | embed  | tokens (B,) int32; base (151936, 2560), extra (E, 2560) of T | x (B, 2560) float32 | 5 KB a token |
// | choose | logits (B, 151936) float32 | next (B,) int64 | 0.6 MB a token, from the L2 cache |
//
// The logits in between are `qkv` of projections.cu over the head's rows.
#include <primitives.cuh>

typedef ACTIVATION T;
constexpr int THREADS = 256;

// Grid (B). Tokens from `vocabulary` on are rows of `extra`.
KERNEL(THREADS, 1) embed(const int* tokens, const Bits16* base, const Bits16* extra, int vocabulary, int width, float* x) {
    let_next_start();
    wait_for_previous();
    int token = tokens[blockIdx.x];
    const Bits16* row = token < vocabulary ? base + static_cast<long>(token) * width
                                           : extra + static_cast<long>(token - vocabulary) * width;
    for (int column = threadIdx.x; column < width; column += THREADS)
        x[blockIdx.x * width + column] = T::wide(row[column]);
}

struct Choice { float logit; int token; };

DEVICE Choice better(Choice one, Choice other) {
    bool other_wins = other.logit > one.logit || (other.logit == one.logit && other.token < one.token);
    return other_wins ? other : one;
}

// The best of all threads, for thread 0; equal logits go to the lower token.
DEVICE Choice best_of_block(Choice mine) {
    Choice* all = reinterpret_cast<Choice*>(shared_memory());
    all[threadIdx.x] = mine;
    for (int half = THREADS / 2; half; half /= 2) {
        barrier();
        if (threadIdx.x < half) all[threadIdx.x] = better(all[threadIdx.x], all[threadIdx.x + half]);
    }
    return all[0];
}

// Grid (blocks, B); best (B, blocks, 2) float32 and tickets (B,), zero before and after, are scratch. Shared memory: a
// Choice a thread.
KERNEL(THREADS, 1) choose(const float* logits, int vocabulary, float* best, int* tickets, long long* next) {
    let_next_start();
    wait_for_previous();
    int blocks = gridDim.x, sequence = blockIdx.y;
    logits += static_cast<long>(sequence) * vocabulary;
    best += sequence * blocks * 2;
    Choice mine = {minus_infinity(), 0};
    for (int token = blockIdx.x * THREADS + threadIdx.x; token < vocabulary; token += blocks * THREADS)
        mine = better(mine, {logits[token], token});
    Choice of_block = best_of_block(mine);
    if (threadIdx.x) return;
    best[blockIdx.x * 2] = of_block.logit;
    best[blockIdx.x * 2 + 1] = static_cast<float>(of_block.token);   // exact below 2^24
    if (draw_ticket(tickets + sequence) != blocks - 1) return;
    Choice chosen = {minus_infinity(), 0};
    for (int block = 0; block < blocks; ++block)
        chosen = better(chosen, {load_from_blocks(best + block * 2),
                                 static_cast<int>(load_from_blocks(best + block * 2 + 1))});
    next[sequence] = chosen.token;
    tickets[sequence] = 0;
}
