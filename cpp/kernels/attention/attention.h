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
// The backward is in backward.h.
#pragma once

#include "kernels/attention/backward.h"

FASTNORM_TARGET_BEGIN

template <class V>
void attend(
    const Attention& task, const Moves<element_t<V>>& moves, std::int64_t head, std::int64_t first,
    std::int64_t count, char* scratch
) {
    using Tile = ScoreTile<V>;
    Tile tile(task, moves, true, head, first, count, scratch);
    const auto scores = Tile::take_block(scratch);
    auto* sums = Tile::take_zeros(scratch, task.width);
    Head<element_t<V>> values(task, moves, task.values, task.width, head);
    values.take_space(scratch);
    OnlineSoftmax<V> softmax;
    const std::int64_t met = slots_met(task, first + count);
    for_blocks(met, [&](std::int64_t slot, std::int64_t slots) {
        V decay = broadcast<V>(1);
        const std::int64_t seen = tile.seen(slot, slots);
        if (task.linear) {
            tile.fetch_linear(slot, seen, scores);
        } else {
            const V highest = tile.fetch(slot, seen, scores);
            decay = softmax.weigh(scores, scores, seen, highest);
        }
        tile.drop(slot, seen, scores);
        Tile::clear(seen, slots, scores);
        accumulate<V>(scores, values.rows(slot, slots), slots, task.width, decay, sums);
    });
    const V share = softmax.reciprocal();
    if (!task.linear) Tile::multiply(sums, task.width, share);
    Head<element_t<V>>(task, moves, task.y, task.width, head).write_tile(first, count, sums, Tile::lanes);
    if (!task.weights.data) return;
    const Head<element_t<V>> weights(task, moves, task.weights, task.slots, head);
    for_blocks(met, [&](std::int64_t slot, std::int64_t slots) {
        const std::int64_t seen = tile.seen(slot, slots);
        task.linear ? tile.fetch_linear(slot, seen, scores) : void(tile.fetch(slot, seen, scores));
        for (std::int64_t j = 0; j < seen; ++j) {
            auto* lane = scores.row(j);
            if (!task.linear) store(lane, weight_of(load<V>(lane) - softmax.peak) * share);
        }
        tile.drop(slot, seen, scores);
        tile.clear_hidden(slot, seen, scores);
        Tile::clear(seen, slots, scores);
        weights.columns(slot, slots).write_tile(first, count, scores.data, Tile::lanes);
    });
    Tile::clear(0, attention_block, scores);
    for_blocks(met, task.slots, [&](std::int64_t slot, std::int64_t slots) {
        weights.columns(slot, slots).write_tile(first, count, scores.data, Tile::lanes);
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
        using V = typename decltype(tile)::V;
        attend<V>(task, moves_of<T>, head, first, count, static_cast<char*>(scratch));
    });
}

FASTNORM_TARGET_END
