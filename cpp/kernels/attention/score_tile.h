// Scores of a tile of queries (or keys), in the lanes, with the blocks of the other side that it meets; and
// beside them the products that the gradient needs.
#pragma once

#include "kernels/attention/weights.h"

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

FASTNORM_TARGET_END
