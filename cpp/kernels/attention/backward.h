// The gradient of attention_forward.h. With P the weights, dP = dy values^T and D = sum over slots of P dP:
//
//   dS = P (dP - D)              dP where there is no softmax
//   dquery = scale dS keys,  dkeys = scale dS^T query,  dvalues = P^T dy
//
// Nothing of size queries x slots is stored: weights are computed again, block by block. The first kernel has
// a tile of queries in the lanes; it finds peak, 1 / total and D of each and leaves them for the second, then
// adds up dquery. The second has a tile of keys in the lanes and meets all queries, so that dkeys and dvalues
// need no partial sums.
#pragma once

#include "kernels/attention/attention.h"

FASTNORM_TARGET_BEGIN

// dP of a tile and the rows of a block, beside the scores.
template <class T, class V>
struct GradientTile {
    using C = compute_t<T>;
    using Tile = ScoreTile<T, V>;
    Tile scores;
    Head<T> rows;  // values, or dy
    C* tile;       // dy, or values
    C* products_with_rows;

    FASTNORM_INLINE GradientTile(
        Tile score_tile, const HeadMatrix& in_lanes, const HeadMatrix& in_rows, std::int64_t head,
        char*& scratch
    )
        : scores(score_tile), rows(score_tile.task, in_rows, score_tile.task.width, head) {
        tile = Tile::take(scratch, scores.task.width);
        products_with_rows = Tile::take(scratch, attention_block);
        const Head<T> own(scores.task, in_lanes, scores.task.width, head);
        own.read_tile(scores.first, scores.count, tile, Tile::lanes);
        rows.take_space(scratch);
    }
    // Scores and dP of a block; returns the rows that dP came from. Where there is no softmax the scores are
    // the weights, and slots that take no part have no gradient either.
    RowBlock<C> fetch(std::int64_t first_row, std::int64_t row_count) {
        scores.fetch(first_row, row_count);
        const RowBlock<C> block = rows.rows(first_row, row_count);
        products<V>(tile, block, row_count, scores.task.width, products_with_rows);
        for (std::int64_t j = 0; j < row_count && scores.task.linear; ++j) {
            const V s = load<V>(score(j)), zero = broadcast<V>(0);
            const auto excluded = s == broadcast<V>(minus_infinity<C>);
            store(score(j), select(excluded, zero, s));
            store(gradient(j), select(excluded, zero, load<V>(gradient(j))));
        }
        return block;
    }
    FASTNORM_INLINE C* score(std::int64_t j) const { return scores.scores + j * Tile::lanes; }
    FASTNORM_INLINE C* gradient(std::int64_t j) const { return products_with_rows + j * Tile::lanes; }
};

// The sum of weights[j] * gradients[j] over a block.
template <class V, class C>
V inner_product(const C* weights, const C* gradients, std::int64_t count) {
    constexpr int lanes = lane_count<V>;
    return sum_of_block<V>(count, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
        return load<V>(weights + j * lanes) * load<V>(gradients + j * lanes);
    });
}

template <class T, class V>
void attend_backward_query(
    const AttentionBackward& task, std::int64_t head, std::int64_t first, std::int64_t count, char* scratch
) {
    using C = compute_t<T>;
    using Tile = ScoreTile<T, V>;
    const Attention& forward = task.forward;
    Tile scores(
        forward, forward.query, forward.keys, forward.mask.row_stride, forward.mask.col_stride, head, first,
        count, scratch
    );
    GradientTile<T, V> tile(scores, task.dy, forward.values, head, scratch);
    C* sums = Tile::take_zeros(scratch, forward.dim);
    Softmax<V> softmax;
    Doubles<V> inner = broadcast<Doubles<V>>(0);
    for_blocks(forward.linear ? 0 : forward.slots, [&](std::int64_t slot, std::int64_t slots) {
        tile.fetch(slot, slots);
        const V decay = softmax.weigh(tile.scores.scores, slots);
        inner = mul_add(
            inner, in_double(decay), in_double(inner_product<V>(tile.score(0), tile.gradient(0), slots))
        );
    });
    const V share = softmax.reciprocal();
    const V mean = rounded<V>(inner * in_double(share));
    C* stats = static_cast<C*>(task.stats) + (head * forward.queries + first) * attention_stats;
    C lanes[attention_stats][Tile::lanes];
    store(lanes[0], softmax.peak);
    store(lanes[1], share);
    store(lanes[2], mean);
    for (std::int64_t i = 0; i < count; ++i) {
        for (int k = 0; k < attention_stats; ++k) stats[i * attention_stats + k] = lanes[k][i];
    }
    for_blocks(forward.slots, [&](std::int64_t slot, std::int64_t slots) {
        tile.fetch(slot, slots);
        for (std::int64_t j = 0; j < slots && !forward.linear; ++j) {
            const V weight = weight_of(load<V>(tile.score(j)) - softmax.peak) * share;
            store(tile.gradient(j), weight * (load<V>(tile.gradient(j)) - mean));
        }
        const RowBlock<C> keys = tile.scores.rows.rows(slot, slots);
        accumulate<V>(tile.products_with_rows, keys, slots, forward.dim, broadcast<V>(1), sums);
    });
    Tile::multiply(sums, forward.dim, broadcast<V>(C(forward.scale)));
    Head<T>(forward, task.dquery, forward.dim, head).write_tile(first, count, sums, Tile::lanes);
}

template <class T, class V>
void attend_backward_keys(
    const AttentionBackward& task, std::int64_t head, std::int64_t first, std::int64_t count, char* scratch
) {
    using C = compute_t<T>;
    using Tile = ScoreTile<T, V>;
    const Attention& forward = task.forward;
    Tile scores(
        forward, forward.keys, forward.query, forward.mask.col_stride, forward.mask.row_stride, head, first,
        count, scratch
    );
    GradientTile<T, V> tile(scores, forward.values, task.dy, head, scratch);
    C* dkeys = Tile::take_zeros(scratch, forward.dim);
    C* dvalues = Tile::take_zeros(scratch, forward.width);
    const V one = broadcast<V>(1);
    for_blocks(forward.queries, [&](std::int64_t query, std::int64_t queries) {
        const RowBlock<C> dy = tile.fetch(query, queries);
        const C* stats =
            static_cast<const C*>(task.stats) + (head * forward.queries + query) * attention_stats;
        if (!forward.linear) {
            for (std::int64_t j = 0; j < queries; ++j, stats += attention_stats) {
                const V weight =
                    weight_of(load<V>(tile.score(j)) - broadcast<V>(stats[0])) * broadcast<V>(stats[1]);
                store(tile.score(j), weight);
                store(tile.gradient(j), weight * (load<V>(tile.gradient(j)) - broadcast<V>(stats[2])));
            }
        }
        accumulate<V>(tile.scores.scores, dy, queries, forward.width, one, dvalues);
        accumulate<V>(
            tile.products_with_rows, tile.scores.rows.rows(query, queries), queries, forward.dim, one, dkeys
        );
    });
    Tile::multiply(dkeys, forward.dim, broadcast<V>(C(forward.scale)));
    Head<T>(forward, task.dkeys, forward.dim, head).write_tile(first, count, dkeys, Tile::lanes);
    Head<T>(forward, task.dvalues, forward.width, head).write_tile(first, count, dvalues, Tile::lanes);
}

template <class T>
void attention_backward_query(
    const AttentionBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    if (task.forward.queries == 1) {
        for (std::int64_t head = begin; head < end; ++head) {
            attend_one_backward<T>(task, head, static_cast<char*>(scratch));
        }
        return;
    }
    for_tiles<T>(task.forward.queries, begin, end, [&](auto tile, auto head, auto first, auto count) {
        attend_backward_query<T, typename decltype(tile)::V>(
            task, head, first, count, static_cast<char*>(scratch)
        );
    });
}

// Nothing is left to do for a single query.
template <class T>
void attention_backward_keys(
    const AttentionBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    if (task.forward.queries == 1) return;
    for_tiles<T>(task.forward.slots, begin, end, [&](auto tile, auto head, auto first, auto count) {
        attend_backward_keys<T, typename decltype(tile)::V>(
            task, head, first, count, static_cast<char*>(scratch)
        );
    });
}

FASTNORM_TARGET_END
