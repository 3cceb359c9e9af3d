// Slots in the lanes, for a single query: its products with them, scores and weights, and rows of results as
// registers.
#pragma once

#include "kernels/attention/weights.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

// total * decay + sum, fused as in a tile.
FASTNORM_INLINE double carried(double total, double decay, double sum) {
    using D = Vec<double, 2>;
    return first(mul_add(broadcast<D>(total), broadcast<D>(decay), broadcast<D>(sum)));
}

// Turns the scores of a block, -inf up to a multiple of weight_lanes, into weights as OnlineSoftmax::weigh
// does.
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

    // Calls body(slot, products) for the slots of a block, sixteen at a time, and returns their rows. Whole
    // vectors of slots and whole groups of columns are read: the last of a block lie over the ones before,
    // or, where there are too few for one, in the scratch.
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
        const auto row_from = [&](std::int64_t column) FASTNORM_INLINE_LAMBDA {
            return [=](int i) FASTNORM_INLINE_LAMBDA { return row + i * step + column; };
        };
        V sum = broadcast<V>(0), columns[group];
        std::int64_t c = 0;
        for (; c + group <= cols; c += group) {
            load_column_group(row_from(c), columns);
            FASTNORM_UNROLL
            for (int j = 0; j < group; ++j) sum = mul_add(columns[j], broadcast<V>(vector[c + j]), sum);
        }
        if (c == cols) return sum;
        const std::int64_t last = cols < group ? 0 : cols - group;
        load_column_group(row_from(last), columns);
        FASTNORM_UNROLL
        for (int j = 0; j < group; ++j) {
            if (last + j >= c && last + j < cols)
                sum = mul_add(columns[j], broadcast<V>(vector[last + j]), sum);
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
        mask.data =
            task.mask.data + strided_offset(head, task.lead_axes, task.lead_extent, task.mask.lead_stride);
        mask.bias = reinterpret_cast<C*>(scratch);
        scratch += attention_block * std::int64_t(sizeof(C));
    }

    // Returns the keys of the block.
    RowBlock<C> fetch(std::int64_t first, std::int64_t count) {
        mask.read(first, count, 0, 1);
        TileMask<C> part = mask;
        const RowBlock<C> keys =
            query.fetch(first, count, [&](std::int64_t slot, V products) FASTNORM_INLINE_LAMBDA {
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

// sums = sums * decay + the sum of the weighted rows, over registers [first, first + K) of a row; those past
// the end make the last again.
template <int K, class C, class Step>
FASTNORM_INLINE void accumulate_registers(
    const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, std::int64_t first, C decay,
    C* sums, Step step
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
            parts[k] =
                mul_add(broadcast<V>(weights[j]), load_columns<V>(rows.row(j) + column[k], step), parts[k]);
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
void accumulate_rows(
    const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, C decay, C* sums
) {
    if (row.width == 0) return;  // no register, so no last one
    if (row.width < weight_lanes) {
        accumulate_registers<1>(weights, rows, count, row, 0, decay, sums, Partial{int(row.width)});
        return;
    }
    std::int64_t i = 0;
    for (; i + 2 < row.count(); i += 4)
        accumulate_registers<4>(weights, rows, count, row, i, decay, sums, Whole{});
    if (i < row.count()) accumulate_registers<2>(weights, rows, count, row, i, decay, sums, Whole{});
}

// Writes register i of a row.
template <class T, class V>
FASTNORM_INLINE void put_register(
    const Head<T>& to, std::int64_t at_row, RowRegisters row, std::int64_t i, V value
) {
    const int lanes = int(smaller(weight_lanes, row.width));
    char* const target = to.at(at_row, row.column(i));
    if (to.matrix.contiguous) {
        store_partial(reinterpret_cast<T*>(target), value, lanes);
        return;
    }
    element_t<V> lane[weight_lanes];
    store(lane, value);
    for (int k = 0; k < lanes; ++k) write_narrowed<T>(target + k * to.matrix.col_stride, lane[k]);
}

FASTNORM_TARGET_END
