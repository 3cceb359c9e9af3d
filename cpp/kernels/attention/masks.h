// From the products of a tile with a block to its scores:
//
//   score = scale * product + bias,  -inf where the mask excludes the slot or the query's place hides it
//
// with cap * tanh(scale * product / cap) instead of scale * product where there is a cap, all of them
//
// a register of the lanes at a time, so that tiles of either size share one copy of it.
#pragma once

#include <limits>

#include "kernels/activations/tanh.h"
#include "kernels/attention/tiles.h"

FASTNORM_TARGET_BEGIN

template <class C>
constexpr C minus_infinity = -std::numeric_limits<C>::infinity();
template <class C>
constexpr C lowest = std::numeric_limits<C>::lowest();

template <class C>
constexpr int part_lanes = native<C>;
template <class C>
using Part = Vec<C, part_lanes<C>>;

// ---- the cap ----------------------------------------------------------------------------------------------

// Of a task; where it has none products are multiplied by `scale` alone.
template <class C>
struct SoftCap {
    bool is_given;
    C scale;   // of what stands in the place of the products afterwards
    C factor;  // of a product in the tanh
    C cap;

    FASTNORM_INLINE explicit SoftCap(const Attention& task)
        : is_given(task.softcap != 0),
          scale(is_given ? C(1) : C(task.scale)),
          factor(0),
          cap(C(task.softcap)) {
        if (!is_given) return;
        const double most = std::numeric_limits<C>::max(), quotient = task.scale / task.softcap;
        factor = C(quotient < -most ? -most : quotient > most ? most : quotient);
    }

    // Caps the products of a block.
    FASTNORM_OUTLINE void bend(LaneRows<C> products, std::int64_t rows, std::int64_t lanes) const {
        using P = Part<C>;
        for (std::int64_t j = 0; j < rows; ++j) {
            for (C* at = products.row(j); at < products.row(j) + lanes; at += part_lanes<C>)
                store(at, broadcast<P>(cap) * tanh(load<P>(at) * broadcast<P>(factor)));
        }
    }
    // Multiplies gradients by the slopes at these products, 1 - tanh^2. Slots that take no part keep their 0,
    // whatever their products are.
    FASTNORM_OUTLINE void pull_back(
        LaneRows<C> products, LaneRows<C> gradients, std::int64_t rows, std::int64_t lanes
    ) const {
        using P = Part<C>;
        for (std::int64_t j = 0; j < rows; ++j) {
            for (std::int64_t lane = 0; lane < lanes; lane += part_lanes<C>) {
                C* const at = gradients.row(j) + lane;
                const P slope = tanh_derivative(load<P>(products.row(j) + lane) * broadcast<P>(factor));
                const P gradient = load<P>(at), zero = broadcast<P>(0);
                store(at, select(gradient == zero, zero, gradient * slope));
            }
        }
    }
};

// ---- the mask ---------------------------------------------------------------------------------------------

// The score scaled, with what the mask adds; -inf where the mask says so, whatever the score.
template <class V>
FASTNORM_INLINE V masked(V product, V scale, V bias) {
    const V excluded = broadcast<V>(minus_infinity<element_t<V>>);
    return select(bias == excluded, excluded, mul_add(product, scale, bias));
}

// The mask of a head, as what it adds to scores: lane i and row j of the other side are steps of their own.
template <class C>
struct TileMask {
    MaskKind kind;
    const char* data;
    std::int64_t lane_stride, row_stride;

    FASTNORM_INLINE bool turns() const { return has_pieces && row_stride == size() && lane_stride != 0; }
    FASTNORM_INLINE std::int64_t size() const { return kind == MaskKind::boolean ? 1 : sizeof(C); }
    FASTNORM_INLINE C value(const char* address) const {
        if (kind == MaskKind::boolean) return *address ? C(0) : minus_infinity<C>;
        C value;
        std::memcpy(&value, address, sizeof value);
        return value;
    }
    // Fetches what so many lanes add to a block of rows. Of a mask that does not stay in the second-level
    // cache that is a line for every sixteen numbers, in as many pages as there are lanes.
    FASTNORM_INLINE void fetch(
        std::int64_t first, std::int64_t count, std::int64_t first_row, std::int64_t rows
    ) const {
        for (std::int64_t i = first; i < first + count; ++i) {
            const char* const at = data + i * lane_stride + first_row * row_stride;
            for (std::int64_t byte = 0; byte < rows * size(); byte += 64) FASTNORM_PREFETCH(at + byte, 0, 2);
        }
    }
    // What is added to the scores of so many lanes, side by side.
    FASTNORM_INLINE void read_lanes(const char* at, std::int64_t count, C* bias) const {
        if (lane_stride == 1 && kind == MaskKind::boolean) {  // a loop that compilers turn into vectors
            for (std::int64_t i = 0; i < count; ++i) bias[i] = at[i] ? C(0) : minus_infinity<C>;
        } else if (lane_stride == sizeof(C) && kind == MaskKind::additive) {
            std::memcpy(bias, at, std::size_t(count) * sizeof(C));
        } else {
            for (std::int64_t i = 0; i < count; ++i) bias[i] = value(at + i * lane_stride);
        }
    }
    FASTNORM_INLINE Part<C> lanes_at(const char* at, std::int64_t count) const {
        if (lane_stride == 0) return broadcast<Part<C>>(value(at));
        C bias[part_lanes<C>] = {};
        if (count > 0) read_lanes(at, smaller(count, part_lanes<C>), bias);
        return load<Part<C>>(bias);
    }

    // Calls body(j, bias) for the rows of a block. `at` is where lane and row are the first, of `count` lanes
    // from there on; where that is not positive no lane counts, but the one at count - 1 is in memory.
    template <class Body>
    FASTNORM_INLINE void for_rows(const char* at, std::int64_t count, std::int64_t rows, Body body) const {
        std::int64_t j = 0;
        if constexpr (has_pieces) {
            if (turns()) j = turn(at, count, rows, body);
        }
        if (j == rows) return;
        const Part<C> first = lanes_at(at, count);
        for (; j < rows; ++j) body(j, row_stride == 0 ? first : lanes_at(at + j * row_stride, count));
    }
    // The same where the rows of each lane lie as neighbours, as in a mask of (queries, slots): squares of
    // numbers, or sixteen booleans of each, turned in registers. Returns how many rows that were. One by one
    // they took as long as all else: 12 heads of 512x64 masked by floats 14.0 ms, by booleans 17.8, not
    // masked 9.7 (Zen 4, one core).
    template <class Body>
    FASTNORM_INLINE std::int64_t turn(
        const char* at, std::int64_t count, std::int64_t rows, Body body
    ) const {
        using P = Part<C>;
        constexpr int group = column_group<C>, bytes = int(sizeof(C));
        const char* rows_at[part_lanes<C>];
        for (int i = 0; i < part_lanes<C>; ++i) rows_at[i] = at + smaller(i, count - 1) * lane_stride;
        const auto row_at = [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
            return [&rows_at, j](int i)
                       FASTNORM_INLINE_LAMBDA { return reinterpret_cast<const C*>(rows_at[i] + j); };
        };
        std::int64_t j = 0;
        for (; kind == MaskKind::additive && j + part_lanes<C> <= rows; j += part_lanes<C>) {
            P square[part_lanes<C>];
            load_square<C>(row_at(j * bytes), square);
            FASTNORM_UNROLL_REGISTERS
            for (int k = 0; k < part_lanes<C>; ++k) body(j + k, square[k]);
        }
        if (kind == MaskKind::additive) return j;
        for (; j + 16 <= rows; j += 16) {
            P columns[group];
            load_column_group(row_at(j), columns);
            // A byte less 1 has the bits of -inf where it is 0, and none of them where it is not.
            const auto byte = broadcast_bits<P>(255), one = broadcast_bits<P>(1);
            const auto infinite = as_bits(broadcast<P>(minus_infinity<C>));
            FASTNORM_UNROLL
            for (int k = 0; k < group; ++k) {
                const auto packed = as_bits(columns[k]);
                for (int b = 0; b < bytes; ++b)
                    body(j + k * bytes + b, from_bits((((packed >> 8 * b) & byte) - one) & infinite));
            }
        }
        return j;
    }
};

template <class C>
TileMask<C> mask_of(const Attention& task, std::int64_t head) {
    if (task.mask_kind == MaskKind::none) return {MaskKind::none, nullptr, 0, 0};
    const std::int64_t lead = strided_offset(head, task.lead_axes, task.lead_extent, task.mask.lead_stride);
    return {task.mask_kind, task.mask.data + lead, task.mask.row_stride, task.mask.col_stride};
}

// Scores from the products of a block, with lanes from `first` and rows from `first_row` on; `highest` gets
// the highest of each lane.
template <class C>
FASTNORM_OUTLINE void mask_scores(
    const TileMask<C>& mask, std::int64_t first, std::int64_t count, std::int64_t first_row,
    std::int64_t rows, C scale, LaneRows<C> scores, std::int64_t lanes, C* highest
) {
    using P = Part<C>;
    for (std::int64_t lane = 0; lane < lanes; lane += part_lanes<C>) {
        const char* const at = mask.data + (first + lane) * mask.lane_stride + first_row * mask.row_stride;
        P top = broadcast<P>(lowest<C>);
        mask.for_rows(at, count - lane, rows, [&](std::int64_t j, P bias) FASTNORM_INLINE_LAMBDA {
            C* const row = scores.row(j) + lane;
            const P score = masked(load<P>(row), broadcast<P>(scale), bias);
            store(row, score);
            top = max(score, top);
        });
        store(highest + lane, top);
    }
}

// ---- what is hidden ---------------------------------------------------------------------------------------

// Lane i and row j of a tile and a block are hidden from each other where direction * (i - j) < edge. Queries
// in the lanes have the direction 1, keys -1.
struct HiddenPairs {
    int direction;
    std::int64_t edge;

    // Whether there are any among so many lanes and rows.
    FASTNORM_INLINE bool any(std::int64_t lanes, std::int64_t rows) const {
        return edge > (direction > 0 ? 1 - rows : 1 - lanes);
    }
};

// Puts `value` in their places; `highest` gets the highest of what each lane has then.
template <class C>
FASTNORM_OUTLINE void hide(
    HiddenPairs hidden, LaneRows<C> rows, std::int64_t count, std::int64_t lanes, C value, C* highest
) {
    using P = Part<C>;
    for (std::int64_t lane = 0; lane < lanes; lane += part_lanes<C>) {
        C number[part_lanes<C>];
        for (int i = 0; i < part_lanes<C>; ++i) number[i] = C(hidden.direction * (lane + i));
        const P place = load<P>(number);
        P top = broadcast<P>(lowest<C>);
        for (std::int64_t j = 0; j < count; ++j) {
            C* const row = rows.row(j) + lane;
            const P edge = broadcast<P>(C(hidden.edge + hidden.direction * j));
            const P kept = select(place < edge, broadcast<P>(value), load<P>(row));
            store(row, kept);
            top = max(kept, top);
        }
        store(highest + lane, top);
    }
}

FASTNORM_TARGET_END
