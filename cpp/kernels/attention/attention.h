// attention: y = softmax(scale * query keys^T + mask) values, for each head; without the softmax where
// `linear`.
//
// Shapes: query (queries, dim), keys (slots, dim), values (slots, width), y (queries, width). A tile of
// queries stands in the lanes and meets the slots in blocks of attention_block; the scores of one block are
// all that is ever stored. Online softmax: with the largest score so far, `peak`, the sums of exp(score -
// peak) and of exp(score - peak) * value are carried from block to block and scaled by exp(peak before - peak
// now). No exponent is positive, so nothing overflows for finite scores. The peak starts at the lowest
// number, so excluded slots (-inf) weigh exactly 0 and a query that excludes all slots has the sum 0 and
// gives zeros.
//
// Order: a score is one chain over dim; a block of weights is added up in sixteen lanes (slot mod 16),
// folded, and the blocks in double; a block of weighted values is one chain over its slots. It depends on the
// shape alone. A single query has the slots and the columns in the lanes instead, with the same chains.
// Error, float32: a score has (dim + 2) 2^-24 sum |q k|, which is the relative error of its weight; beyond it
// y has (attention_block + slots / attention_block + 4) 2^-24 sum of weight |value|.
//
// Backward, with P the weights, dP = dy values^T and D = sum over slots of P dP:
//
//   dS = P (dP - D)              dP where there is no softmax
//   dquery = scale dS keys,  dkeys = scale dS^T query,  dvalues = P^T dy
//
// Nothing of size queries x slots is stored: weights are computed again, block by block. The first kernel has
// a tile of queries in the lanes; it finds peak, 1 / total and D of each and leaves them for the second, then
// adds up dquery. The second has a tile of keys in the lanes and meets all queries, so that dkeys and dvalues
// need no partial sums.
#pragma once

#include "kernels/attention/memory_read.h"
#include "kernels/attention/score_tile.h"

FASTNORM_TARGET_BEGIN

template <class T, class V>
void attend(const Attention& task, std::int64_t head, std::int64_t first, std::int64_t count, char* scratch) {
    using Tile = ScoreTile<T, V>;
    Tile tile(
        task, task.query, task.keys, task.mask.row_stride, task.mask.col_stride, head, first, count, scratch
    );
    auto* sums = Tile::take_zeros(scratch, task.width);
    Head<T> values(task, task.values, task.width, head);
    values.take_space(scratch);
    OnlineSoftmax<V> softmax;
    for_blocks(task.slots, [&](std::int64_t slot, std::int64_t slots) {
        V decay = broadcast<V>(1);
        if (task.linear) {
            tile.fetch_linear(slot, slots);
        } else {
            tile.fetch(slot, slots);
            decay = softmax.weigh(tile.scores, slots);
        }
        accumulate<V>(tile.scores, values.rows(slot, slots), slots, task.width, decay, sums);
    });
    const V share = softmax.reciprocal();
    if (!task.linear) Tile::multiply(sums, task.width, share);
    Head<T>(task, task.y, task.width, head).write_tile(first, count, sums, Tile::lanes);
    if (!task.weights.data) return;
    const Head<T> weights(task, task.weights, task.slots, head);
    for_blocks(task.slots, [&](std::int64_t slot, std::int64_t slots) {
        task.linear ? tile.fetch_linear(slot, slots) : tile.fetch(slot, slots);
        for (std::int64_t j = 0; j < slots; ++j) {
            auto* lane = tile.scores + j * Tile::lanes;
            if (!task.linear) store(lane, weight_of(load<V>(lane) - softmax.peak) * share);
            for (std::int64_t i = 0; i < count; ++i)
                write_narrowed<T>(weights.at(first + i, slot + j), lane[i]);
        }
    });
}

template <class T>
void attention_forward(const Attention& task, std::int64_t begin, std::int64_t end, void* scratch) {
    if (task.queries == 1) {
        for (std::int64_t head = begin; head < end; ++head)
            attend_one<T>(task, head, static_cast<char*>(scratch));
        return;
    }
    for_tiles<T>(task.queries, begin, end, [&](auto tile, auto head, auto first, auto count) {
        attend<T, typename decltype(tile)::V>(task, head, first, count, static_cast<char*>(scratch));
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
    OnlineSoftmax<V> softmax;
    Doubles<V> inner = broadcast<Doubles<V>>(0);
    for_blocks(forward.linear ? 0 : forward.slots, [&](std::int64_t slot, std::int64_t slots) {
        tile.fetch(slot, slots);
        const V decay = softmax.weigh(tile.scores.scores, slots);
        inner = mul_add(
            inner, to_double(decay), to_double(inner_product<V>(tile.score(0), tile.gradient(0), slots))
        );
    });
    const V share = softmax.reciprocal();
    const V mean = rounded<V>(inner * to_double(share));
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
