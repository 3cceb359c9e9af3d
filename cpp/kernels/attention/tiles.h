// The two products that attention is made of, over a tile: `lane_count<V>` rows side by side, one in each
// lane.
//
//   products:    out[j]  = sum over c of tile[c] * rows[j][c]                c ascending
//   accumulate:  sums[c] = sums[c] * decay + sum over j of weights[j] * rows[j][c]    j ascending
//
// tile, out, weights and sums are arrays of V; rows are plain numbers, each met by all lanes at once, so
// neither needs packing or transposing. Every lane is one chain of fused multiply-adds in the order of c (of
// j), whatever the number of lanes and of chains that run beside it: how many a register takes can be chosen
// freely.
#pragma once

#include "kernels/attention/heads.h"

FASTNORM_TARGET_BEGIN

// Vectors of the lanes, one for each row that a tile meets, `step` numbers apart.
template <class C>
struct LaneRows {
    C* data;
    std::int64_t step;
    FASTNORM_INLINE C* row(std::int64_t j) const { return data + j * step; }
    FASTNORM_INLINE LaneRows from(std::int64_t first) const { return {row(first), step}; }
};

// Chains that run at once: half of the registers hold sums.
constexpr int chains = register_lanes == 512 ? 8 : register_lanes == 128 ? 2 : 1;

template <int K, class V, class C>
FASTNORM_INLINE void products_of(
    const C* tile, RowBlock<C> rows, std::int64_t j, std::int64_t cols, LaneRows<C> out
) {
    constexpr int lanes = lane_count<V>;
    V sums[K];
    const C* row[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) sums[k] = broadcast<V>(0), row[k] = rows.row(j + k);
    for (std::int64_t c = 0; c < cols; ++c) {
        const V a = load<V>(tile + c * lanes);
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) sums[k] = mul_add(a, broadcast<V>(row[k][c]), sums[k]);
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) store(out.row(j + k), sums[k]);
}

template <class V, int K = chains, class C>
void products(
    const C* tile, RowBlock<C> rows, std::int64_t count, std::int64_t cols, LaneRows<C> out,
    std::int64_t j = 0
) {
    for (; j + K <= count; j += K) products_of<K, V>(tile, rows, j, cols, out);
    if constexpr (K > 1) products<V, K / 2>(tile, rows, count, cols, out, j);
}

template <int K, class V, class C>
FASTNORM_INLINE void accumulate_of(
    LaneRows<C> weights, RowBlock<C> rows, std::int64_t count, std::int64_t c, V decay, C* sums
) {
    constexpr int lanes = lane_count<V>;
    V parts[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) parts[k] = broadcast<V>(0);
    for (std::int64_t j = 0; j < count; ++j) {
        const V w = load<V>(weights.row(j));
        const C* row = rows.row(j) + c;
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) parts[k] = mul_add(w, broadcast<V>(row[k]), parts[k]);
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) {
        C* sum = sums + (c + k) * lanes;
        store(sum, mul_add(load<V>(sum), decay, parts[k]));
    }
}

template <class V, int K = chains, class C>
void accumulate(
    LaneRows<C> weights, RowBlock<C> rows, std::int64_t count, std::int64_t cols, V decay, C* sums,
    std::int64_t c = 0
) {
    for (; c + K <= cols; c += K) accumulate_of<K, V>(weights, rows, count, c, decay, sums);
    if constexpr (K > 1) accumulate<V, K / 2>(weights, rows, count, cols, decay, sums, c);
}

// ---- loops ------------------------------------------------------------------------------------------------

// Calls body(first, count) for the blocks of `rows` rows, or for those from the one that begins at `begin`
// on.
template <class Body>
FASTNORM_INLINE void for_blocks(std::int64_t begin, std::int64_t rows, Body body) {
    for (std::int64_t first = begin; first < rows; first += attention_block)
        body(first, smaller(attention_block, rows - first));
}
template <class Body>
FASTNORM_INLINE void for_blocks(std::int64_t rows, Body body) {
    for_blocks(0, rows, body);
}

// Calls body(TileOf<V>, head, first, count) for the tiles [begin, end) of `rows` rows a head; V has half the
// lanes where they hold a tile.
template <class Vector>
struct TileOf {
    using V = Vector;
};
template <class T, class Body>
FASTNORM_INLINE void for_tiles(std::int64_t rows, std::int64_t begin, std::int64_t end, Body body) {
    using C = compute_t<T>;
    constexpr int tile = int(tile_bytes / std::int64_t(sizeof(C)));
    const std::int64_t tiles = tiles_of(rows, tile);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit % tiles * tile, count = smaller(tile, rows - first);
        if (2 * count <= tile) {
            body(TileOf<Vec<C, tile / 2>>{}, unit / tiles, first, count);
        } else {
            body(TileOf<Vec<C, tile>>{}, unit / tiles, first, count);
        }
    }
}

FASTNORM_TARGET_END
