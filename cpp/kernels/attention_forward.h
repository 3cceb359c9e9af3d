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
#include "simd/columns.h"
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
    V weigh(element_t<V>* scores, std::int64_t count) {
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

// total * decay + sum, fused as in a tile.
FASTNORM_INLINE double carried(double total, double decay, double sum) {
    using D = Vec<double, 2>;
    return first(mul_add(broadcast<D>(total), broadcast<D>(decay), broadcast<D>(sum)));
}

// Turns the scores of a block, -inf up to a multiple of weight_lanes, into weights as Softmax::weigh does.
template <class C>
struct RowSoftmax {
    using V = Vec<C, weight_lanes>;
    C peak = lowest<C>;
    double total = 0;

    C weigh(C* scores, std::int64_t count) {
        V highest = broadcast<V>(peak), sums = broadcast<V>(0);
        for (std::int64_t j = 0; j < count; j += weight_lanes) highest = max(load<V>(scores + j), highest);
        const C before = peak;
        peak = largest(highest);
        for (std::int64_t j = 0; j < count; j += weight_lanes) {
            const V weight = weight_of(load<V>(scores + j) - broadcast<V>(peak));
            store(scores + j, weight);
            sums = sums + weight;
        }
        C decay[weight_lanes] = {};
        if (total != 0) store(decay, weight_of(broadcast<V>(before - peak)));
        total = carried(total, decay[0], sum(sums));
        return decay[0];
    }
    FASTNORM_INLINE C reciprocal() const { return total == 0 ? C(0) : C(1 / total); }
};

// Products of a single vector with the slots, which stand in the lanes; each is the same chain as in a tile.
template <class T>
struct SlotProducts {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;

    Head<T> slots;
    const C* vector;

    // The vector is copied: a result may be written over it before it is needed again.
    FASTNORM_INLINE SlotProducts(
        const Attention& task, const HeadMatrix& of_vector, const HeadMatrix& of_slots, std::int64_t cols,
        std::int64_t head, char*& scratch
    )
        : slots(task, of_slots, cols, head) {
        vector = Head<T>(task, of_vector, cols, head).take_space(scratch, 1).packed_rows(0, 1).data;
        slots.take_space(scratch);
    }

    // Calls body(slot, products) for the slots of a block, sixteen at a time, and returns their rows. Whole vectors of
    // slots and whole groups of columns are read: the last of a block lie over the ones before, or, where there are
    // too few for one, in the scratch.
    template <class Body>
    FASTNORM_INLINE RowBlock<C> fetch(std::int64_t first, std::int64_t count, Body body) const {
        const bool few = count < weight_lanes || slots.cols < column_group<C>;
        const RowBlock<C> rows = few ? slots.packed_rows(first, count) : slots.rows(first, count);
        for (std::int64_t j = 0; j < count; j += weight_lanes) {
            const std::int64_t slot = few ? j : smaller(j, count - weight_lanes);
            body(slot, products(rows.row(slot), rows.step));
        }
        return rows;
    }
    V products(const C* row, std::int64_t step) const {
        constexpr int group = column_group<C>;
        const std::int64_t cols = slots.cols;
        V sum = broadcast<V>(0), columns[group];
        std::int64_t c = 0;
        for (; c + group <= cols; c += group) {
            load_column_group(row + c, step, columns);
            FASTNORM_UNROLL
            for (int j = 0; j < group; ++j) sum = mul_add(columns[j], broadcast<V>(vector[c + j]), sum);
        }
        if (c == cols) return sum;
        const std::int64_t last = cols < group ? 0 : cols - group;
        load_column_group(row + last, step, columns);
        FASTNORM_UNROLL
        for (int j = 0; j < group; ++j) {
            if (last + j >= c && last + j < cols) sum = mul_add(columns[j], broadcast<V>(vector[last + j]), sum);
        }
        return sum;
    }
};

// Sets the lanes behind `count` slots, up to a whole vector.
template <class C>
FASTNORM_INLINE void fill_lanes(C* row, std::int64_t count, C value) {
    for (std::int64_t j = count; j % weight_lanes != 0; ++j) row[j] = value;
}

// The scores of a single query: masked and scaled, -inf behind them.
template <class T>
struct SlotScores {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;

    const Attention& task;
    SlotProducts<T> query;
    TileMask<C> mask;
    C scores[attention_block];

    FASTNORM_INLINE SlotScores(const Attention& attention, std::int64_t head, char*& scratch)
        : task(attention), query(attention, attention.query, attention.keys, attention.dim, head, scratch) {
        mask = {task.mask_kind, nullptr, task.mask.col_stride, 0, attention_block, nullptr};
        if (mask.kind == MaskKind::none) return;
        mask.data = task.mask.data + strided_offset(head, task.lead_axes, task.lead_extent, task.mask.lead_stride);
        mask.bias = reinterpret_cast<C*>(scratch);
        scratch += attention_block * std::int64_t(sizeof(C));
    }

    // Returns the keys of the block.
    RowBlock<C> fetch(std::int64_t first, std::int64_t count) {
        mask.read(first, count, 0, 1);
        TileMask<C> part = mask;
        const RowBlock<C> keys = query.fetch(first, count, [&](std::int64_t slot, V products) FASTNORM_INLINE_LAMBDA {
            part.bias = mask.bias + (mask.lane_stride == 0 ? 0 : slot);
            store(scores + slot, part.score(products, broadcast<V>(C(task.scale)), 0));
        });
        fill_lanes(scores, count, minus_infinity<C>);
        return keys;
    }
    // Replaces the scores by body(score).
    template <class Body>
    FASTNORM_INLINE void map(std::int64_t count, Body body) {
        for (std::int64_t j = 0; j < count; j += weight_lanes) store(scores + j, body(load<V>(scores + j)));
    }
    FASTNORM_INLINE void to_linear_weights(std::int64_t count) {
        map(count, [](V score) FASTNORM_INLINE_LAMBDA { return linear_weight(score); });
    }
    FASTNORM_INLINE void to_weights(std::int64_t count, C peak) {
        map(count, [&](V score) FASTNORM_INLINE_LAMBDA { return weight_of(score - broadcast<V>(peak)); });
    }
};

// A row of `width` columns as registers: the last lies over the one before it where that makes it whole.
struct RowRegisters {
    std::int64_t width;
    FASTNORM_INLINE std::int64_t count() const { return (width + weight_lanes - 1) / weight_lanes; }
    FASTNORM_INLINE std::int64_t column(std::int64_t i) const {
        return width < weight_lanes ? 0 : smaller(i * weight_lanes, width - weight_lanes);
    }
    template <class C>
    FASTNORM_INLINE C* take_zeros(char*& scratch) const {
        C* const registers = reinterpret_cast<C*>(scratch);
        scratch += count() * weight_lanes * std::int64_t(sizeof(C));
        for (std::int64_t i = 0; i < count(); ++i) {
            store(registers + i * weight_lanes, broadcast<Vec<C, weight_lanes>>(0));
        }
        return registers;
    }
};

// sums = sums * decay + the sum of the weighted rows, over registers [first, first + K) of a row; those past the end
// make the last again.
template <int K, class C, class Step>
FASTNORM_INLINE void accumulate_registers(
    const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, std::int64_t first, C decay, C* sums,
    Step step
) {
    using V = Vec<C, weight_lanes>;
    V parts[K];
    std::int64_t place[K], column[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) {
        place[k] = smaller(first + k, row.count() - 1);
        column[k] = row.column(place[k]);
        parts[k] = broadcast<V>(0);
    }
    for (std::int64_t j = 0; j < count; ++j) {
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) {
            parts[k] = mul_add(broadcast<V>(weights[j]), load_columns<V>(rows.row(j) + column[k], step), parts[k]);
        }
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) {
        parts[k] = mul_add(load<V>(sums + place[k] * weight_lanes), broadcast<V>(decay), parts[k]);
    }
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) store(sums + place[k] * weight_lanes, parts[k]);
}

// Four registers at a time, or two: a chain over the rows that runs alone waits for each of its additions.
template <class C>
void accumulate_rows(const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, C decay, C* sums) {
    if (row.width < weight_lanes) {
        accumulate_registers<1>(weights, rows, count, row, 0, decay, sums, Partial{int(row.width)});
        return;
    }
    std::int64_t i = 0;
    for (; i + 2 < row.count(); i += 4) accumulate_registers<4>(weights, rows, count, row, i, decay, sums, Whole{});
    if (i < row.count()) accumulate_registers<2>(weights, rows, count, row, i, decay, sums, Whole{});
}

// Writes register i of a row.
template <class T, class V>
FASTNORM_INLINE void put_register(const Head<T>& to, std::int64_t at_row, RowRegisters row, std::int64_t i, V value) {
    const int lanes = int(smaller(weight_lanes, row.width));
    char* const target = to.at(at_row, row.column(i));
    if (to.matrix.contiguous) {
        store_partial(reinterpret_cast<T*>(target), value, lanes);
        return;
    }
    element_t<V> lane[weight_lanes];
    store(lane, value);
    for (int k = 0; k < lanes; ++k) put_element<T>(target + k * to.matrix.col_stride, lane[k]);
}

// Softmax has the slots in the lanes, the sum of the values its columns; the bits are those of `attend`.
template <class T>
void attend_one(const Attention& task, std::int64_t head, char* scratch) {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;
    SlotScores<T> slot(task, head, scratch);
    Head<T> values(task, task.values, task.width, head);
    values.take_space(scratch);
    const RowRegisters row{task.width};
    C* const sums = row.take_zeros<C>(scratch);
    RowSoftmax<C> softmax;
    for_blocks(task.slots, [&](std::int64_t first, std::int64_t count) {
        slot.fetch(first, count);
        if (task.linear) slot.to_linear_weights(count);
        const C decay = task.linear ? C(1) : softmax.weigh(slot.scores, count);
        accumulate_rows(slot.scores, values.rows(first, count), count, row, decay, sums);
    });
    const V share = broadcast<V>(task.linear ? C(1) : softmax.reciprocal());
    const Head<T> y(task, task.y, task.width, head);
    for (std::int64_t i = 0; i < row.count(); ++i) put_register(y, 0, row, i, load<V>(sums + i * weight_lanes) * share);
    if (!task.weights.data) return;
    const Head<T> weights(task, task.weights, task.slots, head);
    for_blocks(task.slots, [&](std::int64_t first, std::int64_t count) {
        slot.fetch(first, count);
        if (task.linear) {
            slot.to_linear_weights(count);
        } else {
            slot.to_weights(count, softmax.peak);
            slot.map(count, [&](V weight) FASTNORM_INLINE_LAMBDA { return weight * share; });
        }
        for (std::int64_t j = 0; j < count; ++j) put_element<T>(weights.at(0, first + j), slot.scores[j]);
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
