// y = softmax(scale * query keys^T + mask) values, for each head; without the softmax where `linear`.
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
#pragma once

#include "kernels/attention/weights.h"
#include "kernels/attention/memory_read.h"

FASTNORM_TARGET_BEGIN

// One side of the scores in the lanes: a tile of queries (of keys in the backward for keys) and the blocks it
// meets.
template <class T, class V>
struct ScoreTile {
    using C = compute_t<T>;
    static constexpr int lanes = lane_count<V>;

    const Attention& task;
    Head<T> rows;  // of the other side
    std::int64_t first, count;
    TileMask<C> mask;
    C* tile;
    C* scores;

    FASTNORM_INLINE ScoreTile(
        const Attention& attention, const HeadMatrix& in_lanes, const HeadMatrix& in_rows,
        std::int64_t lane_stride, std::int64_t row_stride, std::int64_t head, std::int64_t first_lane,
        std::int64_t lane_total, char*& scratch
    )
        : task(attention),
          rows(attention, in_rows, attention.dim, head),
          first(first_lane),
          count(lane_total) {
        tile = take(scratch, task.dim);
        scores = take(scratch, attention_block);
        const Head<T> own(task, in_lanes, task.dim, head);
        own.read_tile(first, count, tile, lanes);
        rows.take_space(scratch);
        mask = {task.mask_kind, nullptr, lane_stride, row_stride, lanes, nullptr};
        if (mask.kind == MaskKind::none) return;
        mask.data =
            task.mask.data + strided_offset(head, task.lead_axes, task.lead_extent, task.mask.lead_stride);
        mask.bias = take(scratch, attention_block);
    }

    // Space for `vectors` vectors.
    static FASTNORM_INLINE C* take(char*& scratch, std::int64_t vectors) {
        C* space = reinterpret_cast<C*>(scratch);
        scratch += vectors * lanes * std::int64_t(sizeof(C));
        return space;
    }
    static FASTNORM_INLINE C* take_zeros(char*& scratch, std::int64_t vectors) {
        C* space = take(scratch, vectors);
        for (std::int64_t i = 0; i < vectors; ++i) store(space + i * lanes, broadcast<V>(0));
        return space;
    }

    // Leaves the scores of a block, masked and scaled.
    void fetch(std::int64_t first_row, std::int64_t row_count) {
        products<V>(tile, rows.rows(first_row, row_count), row_count, task.dim, scores);
        mask.read(first, count, first_row, row_count);
        const V scale = broadcast<V>(C(task.scale));
        for (std::int64_t j = 0; j < row_count; ++j) {
            C* score = scores + j * lanes;
            store(score, mask.score(load<V>(score), scale, j));
        }
    }
    // The same without softmax: the weights.
    void fetch_linear(std::int64_t first_row, std::int64_t row_count) {
        fetch(first_row, row_count);
        for (std::int64_t j = 0; j < row_count; ++j) {
            store(scores + j * lanes, linear_weight(load<V>(scores + j * lanes)));
        }
    }
    static FASTNORM_INLINE void multiply(C* vectors, std::int64_t n, V factor) {
        for (std::int64_t i = 0; i < n; ++i)
            store(vectors + i * lanes, load<V>(vectors + i * lanes) * factor);
    }
};

template <class T, class V>
void attend(const Attention& task, std::int64_t head, std::int64_t first, std::int64_t count, char* scratch) {
    using Tile = ScoreTile<T, V>;
    Tile tile(
        task, task.query, task.keys, task.mask.row_stride, task.mask.col_stride, head, first, count, scratch
    );
    auto* sums = Tile::take_zeros(scratch, task.width);
    Head<T> values(task, task.values, task.width, head);
    values.take_space(scratch);
    Softmax<V> softmax;
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

FASTNORM_TARGET_END
