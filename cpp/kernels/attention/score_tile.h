// Scores of a tile of queries (or keys), in the lanes, with the blocks of the other side that it meets; and
// beside them the products that the gradient needs.
#pragma once

#include <utility>

#include "kernels/attention/dropped.h"
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
    bool has_queries;  // in the lanes
    SoftCap<C> cap;
    DroppedWeights<C> dropped;
    TileMask<C> mask;
    C* tile;

    FASTNORM_INLINE ScoreTile(
        const Attention& attention, const Moves<C>& moves, bool queries_in_lanes, std::int64_t head,
        std::int64_t first_lane, std::int64_t lane_total, char*& scratch
    )
        : task(attention),
          rows(attention, moves, queries_in_lanes ? attention.keys : attention.query, attention.dim, head),
          first(first_lane),
          count(lane_total),
          has_queries(queries_in_lanes),
          cap(attention),
          dropped(attention, head) {
        tile = take(scratch, task.dim);
        const Head<C> own(task, moves, has_queries ? task.query : task.keys, task.dim, head);
        own.read_tile(first, count, tile, lanes);
        rows.take_space(scratch);
        mask = mask_of<C>(task, head);
        if (!has_queries) std::swap(mask.lane_stride, mask.row_stride);
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

    // How many slots of a block the queries of the tile, the last of them, see. The others weigh 0; they
    // still count in products with weights, so that these have the same terms in tiles of either size.
    FASTNORM_INLINE std::int64_t seen(std::int64_t slot, std::int64_t slots) const {
        return smaller(first + count + task.diagonal - slot, slots);
    }
    static FASTNORM_INLINE void clear(std::int64_t begin, std::int64_t end, LaneRows<C> block) {
        for (std::int64_t j = begin; j < end; ++j) store(block.row(j), broadcast<V>(0));
    }

    // Leaves the scores of a block, masked and scaled; returns the highest.
    V fetch(std::int64_t first_row, std::int64_t row_count, LaneRows<C> scores) {
        const RowBlock<C> block = rows.rows(first_row, row_count);
        for (std::int64_t j = 0, step = mask.turns() ? 8 : row_count; j < row_count; j += step) {
            // A share of the mask at a time, or the fetches would wait for each other.
            if (mask.turns())
                mask.fetch(
                    first + j * lanes / attention_block, lanes * 8 / attention_block, first_row, row_count
                );
            products<V>(tile, block.from(j), smaller(step, row_count - j), task.dim, scores.from(j));
        }
        if (cap.is_given) cap.bend(scores, row_count, lanes);
        C tops[lanes];
        if (mask.kind != MaskKind::none) {
            mask_scores(mask, first, count, first_row, row_count, cap.scale, scores, lanes, tops);
        } else {
            const V scale = broadcast<V>(cap.scale);
            V highest = broadcast<V>(lowest<C>);
            for (std::int64_t j = 0; j < row_count; ++j) {
                const V score = load<V>(scores.row(j)) * scale;
                store(scores.row(j), score);
                highest = max(score, highest);
            }
            store(tops, highest);
        }
        hide_pairs(first_row, row_count, scores, minus_infinity<C>, tops);
        return load<V>(tops);
    }
    FASTNORM_INLINE void hide_pairs(
        std::int64_t first_row, std::int64_t row_count, LaneRows<C> values, C value, C* highest
    ) const {
        const HiddenPairs hidden = has_queries ? HiddenPairs{1, first_row - first - task.diagonal}
                                               : HiddenPairs{-1, first - first_row - task.diagonal};
        if (hidden.any(lanes, row_count)) hide(hidden, values, row_count, lanes, value, highest);
    }
    // Weights and gradients of hidden pairs are 0 even where a query's are NaN, as they are of blocks that
    // it does not meet.
    FASTNORM_INLINE void clear_hidden(
        std::int64_t first_row, std::int64_t row_count, LaneRows<C> values
    ) const {
        C tops[lanes];
        hide_pairs(first_row, row_count, values, C(0), tops);
    }
    // The same without softmax: the weights.
    void fetch_linear(std::int64_t first_row, std::int64_t row_count, LaneRows<C> weights) {
        fetch(first_row, row_count, weights);
        for (std::int64_t j = 0; j < row_count; ++j)
            store(weights.row(j), linear_weight(load<V>(weights.row(j))));
    }
    // Drops weights of a block, or their gradients.
    FASTNORM_INLINE void drop(std::int64_t first_row, std::int64_t row_count, LaneRows<C> weights) const {
        dropped.drop(weights, first, lanes, first_row, row_count, !has_queries);
    }
    // From the gradients of the scores of a block to those of the products, scaled: there is nothing to do
    // without a cap.
    FASTNORM_INLINE void pull_back(
        std::int64_t first_row, std::int64_t row_count, LaneRows<C> gradients, LaneRows<C> space
    ) const {
        if (!cap.is_given) return;
        products<V>(tile, rows.rows(first_row, row_count), row_count, task.dim, space);
        cap.pull_back(space, gradients, row_count, lanes);
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
        scores.drop(first_row, row_count, gradients);
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
