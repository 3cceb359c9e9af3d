// y = softmax(scale * query keys^T + mask) values, for each head; without the softmax where `linear`.
//
// Shapes: query (queries, dim), keys (slots, dim), values (slots, width), y (queries, width). A tile of queries stands
// in the lanes and meets the slots in blocks of attention_block; the scores of one block are all that is ever stored.
// Online softmax: with the largest score so far, `peak`, the sums of exp(score - peak) and of exp(score - peak) * value
// are carried from block to block and scaled by exp(peak before - peak now). No exponent is positive, so nothing
// overflows for finite scores. The peak starts at the lowest number, so excluded slots (-inf) weigh exactly 0 and a
// query that excludes all slots has the sum 0 and gives zeros.
//
// Order: a score is one chain over dim; a block of weights is added up in sixteen lanes (slot mod 16), folded, and the
// blocks in double; a block of weighted values is one chain over its slots. It depends on the shape alone. A single
// query has the slots and the columns in the lanes instead, with the same chains.
// Error, float32: a score has (dim + 2) 2^-24 sum |q k|, which is the relative error of its weight; beyond it y has
// (attention_block + slots / attention_block + 4) 2^-24 sum of weight |value|.
#pragma once

#include "kernels/attention_tiles.h"
#include "simd/math.h"

FASTNORM_TARGET_BEGIN

constexpr int weight_lanes = 16;

template <class C>
constexpr C lowest = sizeof(C) == 4 ? C(-0x1.fffffep127) : C(-0x1.fffffffffffffp1023);

template <int N>
FASTNORM_INLINE Vec<double, N> in_double(Vec<float, N> v) {
    return to_double(v);
}
template <int N>
FASTNORM_INLINE Vec<double, N> in_double(Vec<double, N> v) {
    return v;
}
template <class V>
using Doubles = Vec<double, lane_count<V>>;
template <class V>
FASTNORM_INLINE V rounded(Doubles<V> v) {
    if constexpr (sizeof(element_t<V>) == 8) {
        return v;
    } else {
        return to_float(v);
    }
}

// exp(x) for x <= 0, and 0 where that is subnormal: beside the largest weight, 1, it counts for nothing, and a
// subnormal result can take a processor a hundred cycles and more, which every excluded slot would cost.
template <class V>
FASTNORM_INLINE V weight_of(V x) {
    const V least = broadcast<V>(sizeof(element_t<V>) == 4 ? element_t<V>(-87) : element_t<V>(-708));
    return select(x < least, broadcast<V>(0), exp(max(least, x)));
}

// The sum of term(j) over j < count in the canonical order.
template <class V, class Term>
FASTNORM_INLINE V sum_of_block(std::int64_t count, Term term) {
    V sums[weight_lanes];
    for (int lane = 0; lane < weight_lanes; ++lane) {
        sums[lane] = broadcast<V>(0);
        for (std::int64_t j = lane; j < count; j += weight_lanes) sums[lane] = sums[lane] + term(j);
    }
    for (int half = weight_lanes / 2; half > 0; half /= 2) {
        for (int lane = 0; lane < half; ++lane) sums[lane] = sums[lane] + sums[lane + half];
    }
    return sums[0];
}

// What is carried from block to block, for each lane.
template <class V>
struct Softmax {
    V peak = broadcast<V>(lowest<element_t<V>>);
    Doubles<V> total = broadcast<Doubles<V>>(0);

    // Turns the scores of a block into weights exp(score - peak); returns the factor of everything summed before.
    FASTNORM_INLINE V weigh(element_t<V>* scores, std::int64_t count) {
        constexpr int lanes = lane_count<V>;
        V highest = peak;
        for (std::int64_t j = 0; j < count; ++j) highest = max(load<V>(scores + j * lanes), highest);
        const V decay = weight_of(peak - highest);
        peak = highest;
        const V sum = sum_of_block<V>(count, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
            const V weight = weight_of(load<V>(scores + j * lanes) - highest);
            store(scores + j * lanes, weight);
            return weight;
        });
        total = mul_add(total, in_double(decay), in_double(sum));
        return decay;
    }

    // 1 / total, 0 where nothing took part.
    FASTNORM_INLINE V reciprocal() const {
        const auto zero = broadcast<Doubles<V>>(0);
        return rounded<V>(select(total == zero, zero, broadcast<Doubles<V>>(1) / total));
    }
};

// The weight that a score is where there is no softmax.
template <class V>
FASTNORM_INLINE V linear_weight(V score) {
    return select(score == broadcast<V>(minus_infinity<element_t<V>>), broadcast<V>(0), score);
}

// One side of the scores in the lanes: a tile of queries (of keys in the backward for keys) and the blocks it meets.
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
        const Attention& attention, const HeadMatrix& in_lanes, const HeadMatrix& in_rows, std::int64_t lane_stride,
        std::int64_t row_stride, std::int64_t head, std::int64_t first_lane, std::int64_t lane_total, char*& scratch
    )
        : task(attention), rows(attention, in_rows, attention.dim, head), first(first_lane), count(lane_total) {
        tile = take(scratch, task.dim);
        scores = take(scratch, attention_block);
        const Head<T> own(task, in_lanes, task.dim, head);
        own.read_tile(first, count, tile, lanes);
        rows.take_space(scratch);
        mask = {task.mask_kind, nullptr, lane_stride, row_stride, lanes, nullptr};
        if (mask.kind == MaskKind::none) return;
        mask.data = task.mask.data + strided_offset(head, task.lead_axes, task.lead_extent, task.mask.lead_stride);
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
        for (std::int64_t i = 0; i < n; ++i) store(vectors + i * lanes, load<V>(vectors + i * lanes) * factor);
    }
};

template <class T, class V>
void attend(const Attention& task, std::int64_t head, std::int64_t first, std::int64_t count, char* scratch) {
    using Tile = ScoreTile<T, V>;
    Tile tile(task, task.query, task.keys, task.mask.row_stride, task.mask.col_stride, head, first, count, scratch);
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
            for (std::int64_t i = 0; i < count; ++i) put_element<T>(weights.at(first + i, slot + j), lane[i]);
        }
    });
}

// ---- a single query ------------------------------------------------------------------------------------------------

// Turns the scores of a block, -inf up to a multiple of weight_lanes, into weights as Softmax::weigh does.
template <class C>
struct RowSoftmax {
    using V = Vec<C, weight_lanes>;
    C peak = lowest<C>;
    double total = 0;

    FASTNORM_INLINE C weigh(C* scores, std::int64_t count) {
        V highest = broadcast<V>(peak), sums = broadcast<V>(0);
        for (std::int64_t j = 0; j < count; j += weight_lanes) highest = max(load<V>(scores + j), highest);
        const C before = peak;
        peak = largest(highest);
        for (std::int64_t j = 0; j < count; j += weight_lanes) {
            const V weight = weight_of(load<V>(scores + j) - broadcast<V>(peak));
            store(scores + j, weight);
            sums = sums + weight;
        }
        C decay[weight_lanes];
        store(decay, weight_of(broadcast<V>(before - peak)));
        using D = Vec<double, 2>;
        total = first(mul_add(broadcast<D>(total), broadcast<D>(decay[0]), broadcast<D>(sum(sums))));
        return decay[0];
    }
    FASTNORM_INLINE C reciprocal() const { return total == 0 ? C(0) : C(1 / total); }
};

// Softmax has the slots in the lanes, the sum of the values its columns; the bits are those of `attend`.
template <class T>
void attend_one(const Attention& task, std::int64_t head, char* scratch) {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;
    using Tile = ScoreTile<T, Vec<C, int(16 / sizeof(C))>>;  // the smallest register, of which one lane is used
    Tile tile(task, task.query, task.keys, task.mask.row_stride, task.mask.col_stride, head, 0, 1, scratch);
    Head<T> values(task, task.values, task.width, head);
    values.take_space(scratch);
    C* sums = reinterpret_cast<C*>(scratch);
    for (std::int64_t c = 0; c < task.width; ++c) sums[c] = 0;
    C row[attention_block];
    const auto fetch = [&](std::int64_t slot, std::int64_t slots) FASTNORM_INLINE_LAMBDA {
        task.linear ? tile.fetch_linear(slot, slots) : tile.fetch(slot, slots);
        for (std::int64_t j = 0; j < slots; ++j) row[j] = tile.scores[j * Tile::lanes];
        for (std::int64_t j = slots; j % weight_lanes != 0; ++j) row[j] = minus_infinity<C>;
    };
    RowSoftmax<C> softmax;
    for_blocks(task.slots, [&](std::int64_t slot, std::int64_t slots) {
        fetch(slot, slots);
        const V decay = broadcast<V>(task.linear ? C(1) : softmax.weigh(row, slots));
        const RowBlock<C> block = values.rows(slot, slots);
        for_columns<weight_lanes>(0, task.width, [&](std::int64_t c, auto step) FASTNORM_INLINE_LAMBDA {
            V part = broadcast<V>(0);
            for (std::int64_t j = 0; j < slots; ++j) {
                part = mul_add(broadcast<V>(row[j]), load_columns<V>(block.row(j) + c, step), part);
            }
            store_columns(sums + c, mul_add(load_columns<V>(sums + c, step), decay, part), step);
        });
    });
    const C share = task.linear ? C(1) : softmax.reciprocal();
    const Head<T> y(task, task.y, task.width, head);
    for (std::int64_t c = 0; c < task.width; ++c) put_element<T>(y.at(0, c), sums[c] * share);
    if (!task.weights.data) return;
    const Head<T> weights(task, task.weights, task.slots, head);
    for_blocks(task.slots, [&](std::int64_t slot, std::int64_t slots) {
        fetch(slot, slots);
        for (std::int64_t j = 0; j < slots; j += weight_lanes) {
            if (!task.linear) {
                store(row + j, weight_of(load<V>(row + j) - broadcast<V>(softmax.peak)) * broadcast<V>(share));
            }
        }
        for (std::int64_t j = 0; j < slots; ++j) put_element<T>(weights.at(0, slot + j), row[j]);
    });
}

template <class T>
void attention_forward(const Attention& task, std::int64_t begin, std::int64_t end, void* scratch) {
    if (task.queries == 1) {
        for (std::int64_t head = begin; head < end; ++head) attend_one<T>(task, head, static_cast<char*>(scratch));
        return;
    }
    for_tiles<T>(task.queries, begin, end, [&](auto tile, auto head, auto first, auto count) {
        attend<T, typename decltype(tile)::V>(task, head, first, count, static_cast<char*>(scratch));
    });
}

FASTNORM_TARGET_END
