// A layer's attention of one new token a sequence: norms and turns its heads, appends key and value, attends.
//
//   raw (B, (H + 2 KV) x D) float32, from `qkv`        caches: keys and values (KV, slots, D) of T, one pair a sequence
//   attended (B, H x D) of T                           cos, sin (positions, D / 2) float32
//
// Grid (SPLITS, KV, B): a block takes a stretch of the slots, for the H / KV <= 8 query heads of a key head; the last
// block of a head adds the stretches up in their order, whichever block that is. Each warp goes through its slots in
// groups of 16 with a running maximum. Behind 772 tokens of Molmo2-4B: 3.2 MB a layer and sequence; behind 3052: 12.5 MB.
//
// Products: rows are query heads (8 of 16 are used), so lane 4g + t holds the scores of head g and slots 2t, 2t + 1,
// which is also how the second product wants its left side. A key's channels, and the channels of a value, are taken
// in whatever order 16-byte loads give.
#include "formats.cuh"
#include "sums.cuh"

constexpr int GROUP = 16, HEADS = 8, WARPS = ATTENTION_WARPS, D = HEAD_WIDTH;
constexpr int SLICES = D / 32;   // of a row, 32 channels each: 4 lanes x 16 bytes
constexpr int HALVES = D / 64;   // of a row, 64 channels each: 8 lanes x 16 bytes
typedef ACTIVATION T;

constexpr bool BY_HEAD = NORMS_BY_HEAD;   // else queries are normed whole, H x D at once, and keys likewise
constexpr bool EARLY = ATTENTION_EARLY;   // reads what is there before the kernel before is done

struct Caches { Bits16 *keys[8], *values[8]; };

// The factor that norms a whole projection, for every thread; all take part. `scratch`: a float a warp.
DEVICE float factor_of_all(const float* heads, int channels, float eps, float* scratch) {
    constexpr int THREADS = WARPS * WARP;
    float square = 0;
    for (int channel = threadIdx.x; channel < channels; channel += THREADS) square += heads[channel] * heads[channel];
    return inverse_root(sum_of_block<THREADS>(square, scratch) / channels + eps);
}

// One head of D float32 -> normed, by `factor` unless each head has its own, and turned by half-split rotary positions,
// as T; a warp does it.
DEVICE void norm_and_turn(const float* head, const Bits16* norm, float eps, float factor, const float* cos,
                          const float* sin, Bits16* to) {
    int lane = threadIdx.x % WARP;
    float low[HALVES], high[HALVES], square = 0;
#pragma unroll
    for (int i = 0; i < HALVES; ++i) {
        low[i] = head[lane + i * WARP]; high[i] = head[lane + i * WARP + D / 2];
        square += low[i] * low[i] + high[i] * high[i];
    }
    if constexpr (BY_HEAD) {
        for (int mask = WARP / 2; mask; mask /= 2) square += shuffle_xor(square, mask);
        factor = inverse_root(square / D + eps);
    }
#pragma unroll
    for (int i = 0; i < HALVES; ++i) {
        int channel = lane + i * WARP;
        float a = low[i] * factor * T::wide(norm[channel]), b = high[i] * factor * T::wide(norm[channel + D / 2]);
        to[channel] = T::narrow(a * cos[channel] - b * sin[channel]);
        to[channel + D / 2] = T::narrow(b * cos[channel] + a * sin[channel]);
    }
}

// What a warp knows of its slots: per lane, of head g, maximum and sum of weights, and of the weighted values channels
// 64 half + 8 (2t) + j and 64 half + 8 (2t + 1) + j.
struct Running {
    float highest, total, mixed[HALVES][8][4];
};

// What a lane holds of a group of slots.
struct Group { Chunk key[2][SLICES], value[HALVES][4]; };

DEVICE void load_group(Group& group_of_slots, const Bits16* keys, const Bits16* values, int first, int end) {
    int lane = threadIdx.x % WARP, group = lane / 4, part = lane % 4;
    Chunk (&key)[2][SLICES] = group_of_slots.key, (&value)[HALVES][4] = group_of_slots.value;
#pragma unroll
    for (int i = 0; i < 2; ++i)
        for (int slice = 0; slice < SLICES; ++slice)
            key[i][slice] = load_cached(keys + min(first + group + 8 * i, end - 1) * long(D) + slice * 32 + part * 8);
#pragma unroll
    for (int i = 0; i < 4; ++i)
        for (int half = 0; half < HALVES; ++half) {
            int slot = min(first + part * 2 + i % 2 + i / 2 * 8, end - 1);
            value[half][i] = load_cached(values + slot * long(D) + half * 64 + group * 8);
        }
}

DEVICE void attend_group(Running& running, const Chunk (&query)[SLICES], const Group& group, int first, int end,
                         float scale) {
    int part = threadIdx.x % 4;
    float score[2][4] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i)
        for (int slice = 0; slice < SLICES; ++slice) {
            const Chunk &q = query[slice], &k = group.key[i][slice];
            T::multiply(score[i], q.word[0], 0, q.word[1], 0, k.word[0], k.word[1]);
            T::multiply(score[i], q.word[2], 0, q.word[3], 0, k.word[2], k.word[3]);
        }
    float highest = running.highest;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float& one = score[i / 2][i % 2];
        one = first + part * 2 + i % 2 + i / 2 * 8 < end ? one * scale : minus_infinity();
        highest = fmaxf(highest, one);
    }
    highest = fmaxf(highest, shuffle_xor(highest, 1));
    highest = fmaxf(highest, shuffle_xor(highest, 2));
    float shrink = exp2_of(running.highest - highest);
    running.highest = highest;
    running.total *= shrink;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float& one = score[i / 2][i % 2];
        one = exp2_of(one - highest);
        running.total += one;
    }
    Pair early = pair_of<T>(score[0][0], score[0][1]), late = pair_of<T>(score[1][0], score[1][1]);
#pragma unroll
    for (int half = 0; half < HALVES; ++half)
        for (int j = 0; j < 8; ++j) {
            float (&mixed)[4] = running.mixed[half][j];
            mixed[0] *= shrink; mixed[1] *= shrink;
            unsigned int order = j % 2 ? 0x7632 : 0x5410;
            const Chunk* v = group.value[half];
            T::multiply(mixed, early, 0, late, 0, bytes_of(v[0].word[j / 2], v[1].word[j / 2], order),
                        bytes_of(v[2].word[j / 2], v[3].word[j / 2], order));
        }
}

// Of a head: (maximum, sum of weights, D weighted values).
constexpr int STATE = D + 2;

DEVICE void share_running(const Running& running, float* states, int heads) {
    int lane = threadIdx.x % WARP, group = lane / 4, part = lane % 4;
    float total = running.total;
    total += shuffle_xor(total, 1);
    total += shuffle_xor(total, 2);
    if (group >= heads) return;
    float* state = states + (threadIdx.x / WARP * heads + group) * STATE;
    if (part == 0) { state[0] = running.highest; state[1] = total; }
#pragma unroll
    for (int half = 0; half < HALVES; ++half)
        for (int j = 0; j < 8; ++j) {
            float* channels = state + 2 + half * 64 + part * 16 + j;
            channels[0] = running.mixed[half][j][0]; channels[8] = running.mixed[half][j][1];
        }
}

DEVICE float weight_of(float highest_of_part, float highest) {
    return highest_of_part == minus_infinity() ? 0 : exp2_of(highest_of_part - highest);
}

// Channel `channel` of `count` states of a head, `apart` floats from each other, as one state's maximum, sum and value;
// `read` loads a float. Of up to eight states, all loads are under way before the first is used.
template <class Read> DEVICE Floats join_states(const float* states, int count, int apart, int channel, Read read) {
    constexpr int AT_ONCE = 8;
    float highest = minus_infinity(), total = 0, value = 0;
#pragma unroll 1
    for (int first = 0; first < count; first += AT_ONCE) {
        float of_state[AT_ONCE][3], before = highest;
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
            const float* state = states + min(first + i, count - 1) * apart;
            of_state[i][0] = read(state); of_state[i][1] = read(state + 1); of_state[i][2] = read(state + 2 + channel);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) highest = fmaxf(highest, of_state[i][0]);
        total *= weight_of(before, highest); value *= weight_of(before, highest);
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
            float weight = first + i < count ? weight_of(of_state[i][0], highest) : 0;
            total += weight * of_state[i][1]; value += weight * of_state[i][2];
        }
    }
    return {highest, total, value, 0};
}

// partial (B, KV, SPLITS, H / KV, STATE) float32 and tickets (B, KV), zero before and after, are scratch.
KERNEL(WARPS * WARP, 1) attention(const float* raw, const Bits16* q_norm, const Bits16* k_norm, float eps,
                                  const float* cos, const float* sin, const int* positions, const int* slots,
                                  UNCHANGED Caches caches, long slots_of_cache, int heads_of_key, float* partial, int* tickets,
                                  Bits16* attended) {
    constexpr int THREADS = WARPS * WARP;
    int split = blockIdx.x, splits = gridDim.x, key_head = blockIdx.y, key_heads = gridDim.y, sequence = blockIdx.z;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    Bits16* keys = caches.keys[sequence] + key_head * slots_of_cache * D;
    Bits16* values = caches.values[sequence] + key_head * slots_of_cache * D;
    let_next_start();

    int slot = slots[sequence], length = slot + 1;
    int stretch = ((length + splits - 1) / splits + GROUP - 1) / GROUP * GROUP;
    int begin = split * stretch, end = min(begin + stretch, length);
    if (threadIdx.x == 0 && begin < slot) {
        prefetch(keys + begin * long(D), (min(end, slot) - begin) * D * 2);
        prefetch(values + begin * long(D), (min(end, slot) - begin) * D * 2);
    }
    if constexpr (!BY_HEAD) { q_norm += key_head * heads_of_key * D; k_norm += key_head * D; }
    int query_norms = BY_HEAD ? 1 : heads_of_key;
    if (threadIdx.x == 1) { prefetch(q_norm, query_norms * D * 2); prefetch(k_norm, D * 2); }
    cos += positions[sequence] * (D / 2);
    sin += positions[sequence] * (D / 2);
    if (EARLY && threadIdx.x == 1) { prefetch(cos, D * 2); prefetch(sin, D * 2); }
    // Of slots that earlier steps wrote.
    int first = begin + warp * GROUP;
    bool is_loaded = EARLY && first < end && min(first + GROUP, end) <= slot;
    Group group;
    if (is_loaded) load_group(group, keys, values, first, end);
    wait_for_previous();

    // Its own query heads in every block; key and value in the block whose stretch has the new slot.
    Bits16* queries = reinterpret_cast<Bits16*>(shared_memory());
    float* states = reinterpret_cast<float*>(queries + HEADS * D);
    int heads = heads_of_key * key_heads;
    raw += sequence * (heads + 2 * key_heads) * D;
    float of_queries = 0, of_keys = 0;
    if constexpr (!BY_HEAD) {
        of_queries = factor_of_all(raw, heads * D, eps, states);
        of_keys = factor_of_all(raw + heads * D, key_heads * D, eps, states + WARPS);
    }
    for (int head = warp; head < heads_of_key; head += WARPS)
        norm_and_turn(raw + (key_head * heads_of_key + head) * D, BY_HEAD ? q_norm : q_norm + head * D, eps, of_queries,
                      cos, sin, queries + head * D);
    if (begin <= slot && slot < end) {
        if (warp == WARPS - 1)
            norm_and_turn(raw + (heads + key_head) * D, k_norm, eps, of_keys, cos, sin, keys + slot * long(D));
        if (warp == WARPS - 2)
            for (int channel = lane; channel < D; channel += WARP)
                values[slot * long(D) + channel] = T::narrow(raw[(heads + key_heads + key_head) * D + channel]);
    }
    barrier();

    Running running = {minus_infinity(), 0, {}};
    Chunk query[SLICES] = {};
    if (lane / 4 < heads_of_key)
        for (int slice = 0; slice < SLICES; ++slice)
            query[slice] = *reinterpret_cast<const Chunk*>(queries + lane / 4 * D + slice * 32 + lane % 4 * 8);
    float scale = 1.44269504f * inverse_root(static_cast<float>(D));
    for (; first < end; first += WARPS * GROUP, is_loaded = false) {
        if (!is_loaded) load_group(group, keys, values, first, end);
        attend_group(running, query, group, first, end, scale);
    }
    share_running(running, states, heads_of_key);
    barrier();

    float* of_head = partial + (sequence * key_heads + key_head) * static_cast<long>(splits * heads_of_key * STATE);
    auto shared = [](const float* x) { return *x; };
#pragma unroll 1
    for (int i = threadIdx.x; i < heads_of_key * D; i += THREADS) {
        int head = i / D, channel = i % D;
        float* state = of_head + (split * heads_of_key + head) * STATE;
        Floats joined = join_states(states + head * STATE, WARPS, heads_of_key * STATE, channel, shared);
        if (channel == 0) { state[0] = joined.value[0]; state[1] = joined.value[1]; }
        state[2 + channel] = joined.value[2];
    }
    barrier();
    int* last = reinterpret_cast<int*>(shared_memory());
    if (threadIdx.x == 0) *last = draw_ticket(tickets + sequence * key_heads + key_head) == splits - 1;
    barrier();
    if (!*last) return;

#pragma unroll 1
    for (int i = threadIdx.x; i < heads_of_key * D; i += THREADS) {
        int head = i / D, channel = i % D;
        Floats joined = join_states(of_head + head * STATE, splits, heads_of_key * STATE, channel, load_from_blocks);
        attended[(sequence * heads + key_head * heads_of_key + head) * D + channel] =
            T::narrow(joined.value[2] / joined.value[1]);
    }
    if (threadIdx.x == 0) tickets[sequence * key_heads + key_head] = 0;
}
