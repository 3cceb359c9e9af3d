// Scores of a tile of queries (or keys), in the lanes, with the blocks of the other side that it meets; and
// beside them the products that the gradient needs.
#pragma once

#include "kernels/attention/weights.h"

FASTNORM_TARGET_BEGIN

// One side of the scores in the lanes: a tile of queries (of keys in the backward for keys) and the blocks it
// meets.
template <class V>
struct ScoreTile {
    using C = element_t<V>;
    static constexpr int lanes = lane_count<V>;

    const Attention& task;
    Head<C> rows;  // of the other side
    std::int64_t first, count;
    TileMask<C> mask;
    C* tile;

    FASTNORM_INLINE ScoreTile(
        const Attention& attention, const Moves<C>& moves, const HeadMatrix& in_lanes,
        const HeadMatrix& in_rows, std::int64_t lane_stride, std::int64_t row_stride, std::int64_t head,
        std::int64_t first_lane, std::int64_t lane_total, char*& scratch
    )
        : task(attention),
          rows(attention, moves, in_rows, attention.dim, head),
          first(first_lane),
          count(lane_total) {
        tile = take(scratch, task.dim);
        const Head<C> own(task, moves, in_lanes, task.dim, head);
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

    // Space for the vectors of a block.
    static FASTNORM_INLINE LaneRows<C> take_block(char*& scratch) {
        return {take(scratch, attention_block), lanes};
    }

    // Leaves the scores of a block, masked and scaled; returns the highest.
    V fetch(std::int64_t first_row, std::int64_t row_count, LaneRows<C> scores) {
        products<V>(tile, rows.rows(first_row, row_count), row_count, task.dim, scores);
        mask.read(first, count, first_row, row_count);
        const V scale = broadcast<V>(C(task.scale));
        V highest = broadcast<V>(lowest<C>);
        for (std::int64_t j = 0; j < row_count; ++j) {
            const V score = mask.score(load<V>(scores.row(j)), scale, j);
            store(scores.row(j), score);
            highest = max(score, highest);
        }
        return highest;
    }
    // The same without softmax: the weights.
    void fetch_linear(std::int64_t first_row, std::int64_t row_count, LaneRows<C> weights) {
        fetch(first_row, row_count, weights);
        for (std::int64_t j = 0; j < row_count; ++j)
            store(weights.row(j), linear_weight(load<V>(weights.row(j))));
    }
    static FASTNORM_INLINE void multiply(C* vectors, std::int64_t n, V factor) {
        for (std::int64_t i = 0; i < n; ++i)
            store(vectors + i * lanes, load<V>(vectors + i * lanes) * factor);
    }
};

// dP of a tile and the rows of a block, beside the scores.
template <class V>
struct GradientTile {
    using C = element_t<V>;
    using Tile = ScoreTile<V>;
    Tile scores;
    Head<C> rows;  // values, or dy
    C* tile;       // dy, or values

    FASTNORM_INLINE GradientTile(
        Tile score_tile, const HeadMatrix& in_lanes, const HeadMatrix& in_rows, std::int64_t head,
        char*& scratch
    )
        : scores(score_tile),
          rows(score_tile.task, score_tile.rows.moves, in_rows, score_tile.task.width, head) {
        tile = Tile::take(scratch, scores.task.width);
        const Head<C> own(scores.task, scores.rows.moves, in_lanes, scores.task.width, head);
        own.read_tile(scores.first, scores.count, tile, Tile::lanes);
        rows.take_space(scratch);
    }
    // Leaves scores and dP of a block; returns the highest scores. Where there is no softmax the scores are
    // the weights, and slots that take no part have no gradient either.
    V fetch(std::int64_t first_row, std::int64_t row_count, LaneRows<C> weights, LaneRows<C> gradients) {
        const V highest = scores.fetch(first_row, row_count, weights);
        products<V>(tile, rows.rows(first_row, row_count), row_count, scores.task.width, gradients);
        for (std::int64_t j = 0; j < row_count && scores.task.linear; ++j) {
            const V s = load<V>(weights.row(j)), zero = broadcast<V>(0);
            const auto excluded = s == broadcast<V>(minus_infinity<C>);
            store(weights.row(j), select(excluded, zero, s));
            store(gradients.row(j), select(excluded, zero, load<V>(gradients.row(j))));
        }
        return highest;
    }
};

// The sum of weights[j] * gradients[j] over a block.
template <class V, class C>
V inner_product(LaneRows<C> weights, LaneRows<C> gradients, std::int64_t count) {
    return sum_of_block<V>(count, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
        return load<V>(weights.row(j)) * load<V>(gradients.row(j));
    });
}

FASTNORM_TARGET_END
