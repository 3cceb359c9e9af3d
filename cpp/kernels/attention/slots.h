// Slots in the lanes, for a single query: its products with them, scores and weights, and rows of results as
// registers.
#pragma once

#include <utility>

#include "kernels/attention/dropped.h"
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

// Slots that come from memory, as more bytes than this for all heads do, are fetched so many rows before they
// are multiplied, if they lie one after the other: no prefetcher of the processor follows pieces of sixteen
// rows. 12 heads of 4096 slots of 64, 24 MiB, Zen 4, one core: 2.0 to 3.1 ms without and 1.1 to 1.3 with it,
// where a read takes 0.7; of what is in the cache fetching again costs 5 %. The values of the same block are
// fetched beside, both into the second-level cache: 1.56 ms instead of 2.11 where a read takes 1.74 (another
// hour of the same core).
constexpr std::int64_t far_bytes = std::int64_t(16) << 20, rows_ahead = attention_block;

// Products of a single vector with the slots, which stand in the lanes; each is the same chain as in a tile.
template <class T>
struct SlotProducts {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;

    Head<C> slots;
    const C* vector;
    bool are_far;
    std::int64_t beside = 0;  // from lines that are fetched to others that are too, in bytes

    // The vector is copied: a result may be written over it before it is needed again.
    FASTNORM_INLINE SlotProducts(
        const Attention& task, const HeadMatrix& of_vector, const HeadMatrix& of_slots, std::int64_t cols,
        std::int64_t head, char*& scratch
    )
        : slots(task, moves_of<T>, of_slots, cols, head) {
        vector =
            Head<C>(task, moves_of<T>, of_vector, cols, head).take_space(scratch, 1).packed_rows(0, 1).data;
        slots.take_space(scratch);
        are_far = 2 * task.heads * task.slots * cols * std::int64_t(sizeof(C)) > far_bytes;
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
        constexpr int line = 64 / int(sizeof(C)), fetched = weight_lanes * group / line;
        const bool fetches = are_far && step == cols;
        const C* next = row + rows_ahead * step;
        for (; c + group <= cols; c += group) {
            if (fetches) {
                FASTNORM_UNROLL
                for (int k = 0; k < fetched; ++k) {
                    FASTNORM_PREFETCH(next + k * line, 0, 2);
                    FASTNORM_PREFETCH(reinterpret_cast<const char*>(next + k * line) + beside, 0, 2);
                }
                next += fetched * line;
            }
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
    SoftCap<C> cap;
    DroppedWeights<C> dropped;
    TileMask<C> mask;
    C scores[attention_block], bias[attention_block];

    FASTNORM_INLINE SlotScores(const Attention& attention, std::int64_t head, char*& scratch)
        : task(attention),
          query(attention, attention.query, attention.keys, attention.dim, head, scratch),
          cap(attention),
          dropped(attention, head) {
        mask = mask_of<C>(task, head);
        std::swap(mask.lane_stride, mask.row_stride);
    }

    // Returns the keys of the block.
    RowBlock<C> fetch(std::int64_t first, std::int64_t count) {
        const bool is_masked = mask.kind != MaskKind::none;
        if (is_masked) mask.read_lanes(mask.data + first * mask.lane_stride, count, bias);
        fill_lanes(bias, count, C(0));
        const auto score = [&](std::int64_t slot, V products) FASTNORM_INLINE_LAMBDA {
            const V scale = broadcast<V>(cap.scale);
            store(
                scores + slot, is_masked ? masked(products, scale, load<V>(bias + slot)) : products * scale
            );
        };
        RowBlock<C> keys;
        if (cap.is_given) {
            keys = fetch_products(first, count, scores);
            cap.bend({scores, attention_block}, 1, whole_lanes(count));
            for (std::int64_t j = 0; j < count; j += weight_lanes) score(j, load<V>(scores + j));
        } else {
            keys = query.fetch(first, count, score);
        }
        fill_lanes(scores, count, minus_infinity<C>);
        return keys;
    }
    // From the gradients of the scores of a block to those of the products, scaled.
    FASTNORM_INLINE void pull_back(std::int64_t first, std::int64_t count, C* gradients) const {
        if (!cap.is_given) return;
        C products[attention_block];
        fetch_products(first, count, products);
        cap.pull_back({products, attention_block}, {gradients, attention_block}, 1, whole_lanes(count));
    }
    // Drops weights of a block, or their gradients.
    FASTNORM_INLINE void drop(std::int64_t first, std::int64_t count, C* weights) const {
        dropped.drop({weights, attention_block}, first, whole_lanes(count), 0, 1, true);
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

private:
    static FASTNORM_INLINE std::int64_t whole_lanes(std::int64_t count) {
        return (count + weight_lanes - 1) / weight_lanes * weight_lanes;
    }
    FASTNORM_OUTLINE RowBlock<C> fetch_products(std::int64_t first, std::int64_t count, C* to) const {
        const RowBlock<C> keys =
            query.fetch(first, count, [&](std::int64_t slot, V products) FASTNORM_INLINE_LAMBDA {
                store(to + slot, products);
            });
        fill_lanes(to, count, C(0));
        return keys;
    }
};

// A row of `width` columns as registers: the last lies over the one before it where that makes it whole.
struct RowRegisters {
    std::int64_t width;
    FASTNORM_INLINE std::int64_t count() const { return (width + weight_lanes - 1) / weight_lanes; }
    FASTNORM_INLINE std::int64_t column(std::int64_t i) const {
        return width < weight_lanes ? 0 : smaller(i * weight_lanes, width - weight_lanes);
    }
    // Numbers in the registers of a row, and where among them a column is.
    FASTNORM_INLINE std::int64_t step() const { return count() * weight_lanes; }
    FASTNORM_INLINE std::int64_t place(std::int64_t at_column) const {
        const std::int64_t i = at_column / weight_lanes;
        return i * weight_lanes + at_column - column(i);
    }
    template <class C>
    FASTNORM_INLINE C* take_zeros(char*& scratch, std::int64_t rows = 1) const {
        C* const registers = reinterpret_cast<C*>(scratch);
        scratch += rows * step() * std::int64_t(sizeof(C));
        for (std::int64_t i = 0; i < rows * step(); i += weight_lanes)
            store(registers + i, broadcast<Vec<C, weight_lanes>>(0));
        return registers;
    }
};

// sums = sums * decay + the sum of the weighted rows, over registers [first, first + K) of a row; those past
// the end make the last again. Q rows of sums have each its weights, attention_block apart.
template <int Q, int K, class C, class Step>
FASTNORM_INLINE void accumulate_registers(
    const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, std::int64_t first, C decay,
    C* sums, Step step
) {
    using V = Vec<C, weight_lanes>;
    V parts[Q][K];
    std::int64_t place[K], column[K];
    FASTNORM_UNROLL
    for (int k = 0; k < K; ++k) {
        place[k] = smaller(first + k, row.count() - 1);
        column[k] = row.column(place[k]);
        FASTNORM_UNROLL
        for (int q = 0; q < Q; ++q) parts[q][k] = broadcast<V>(0);
    }
    for (std::int64_t j = 0; j < count; ++j) {
        V of_row[K];
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) of_row[k] = load_columns<V>(rows.row(j) + column[k], step);
        FASTNORM_UNROLL
        for (int q = 0; q < Q; ++q) {
            const V weight = broadcast<V>(weights[q * attention_block + j]);
            FASTNORM_UNROLL
            for (int k = 0; k < K; ++k) parts[q][k] = mul_add(weight, of_row[k], parts[q][k]);
        }
    }
    FASTNORM_UNROLL
    for (int q = 0; q < Q; ++q) {
        C* const row_sums = sums + q * row.step();
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) {
            const V sum = load<V>(row_sums + place[k] * weight_lanes);
            parts[q][k] = mul_add(sum, broadcast<V>(decay), parts[q][k]);
        }
        FASTNORM_UNROLL
        for (int k = 0; k < K; ++k) store(row_sums + place[k] * weight_lanes, parts[q][k]);
    }
}

// Four registers at a time, or two: a chain over the rows that runs alone waits for each of its additions.
template <class C>
void accumulate_rows(
    const C* weights, RowBlock<C> rows, std::int64_t count, RowRegisters row, C decay, C* sums
) {
    if (row.width == 0) return;  // no register, so no last one
    if (row.width < weight_lanes) {
        accumulate_registers<1, 1>(weights, rows, count, row, 0, decay, sums, Partial{int(row.width)});
        return;
    }
    std::int64_t i = 0;
    for (; i + 2 < row.count(); i += 4)
        accumulate_registers<1, 4>(weights, rows, count, row, i, decay, sums, Whole{});
    if (i < row.count()) accumulate_registers<1, 2>(weights, rows, count, row, i, decay, sums, Whole{});
}

// The same for `slots` rows of sums, a multiple of slot_group, whose weights stand attention_block apart, one
// for each of the rows: sums of two registers for as many slots as registers hold.
template <class C>
constexpr int slots_at_once = register_lanes == 512   ? 32 / int(sizeof(C))
                              : register_lanes == 128 ? 2
                                                      : 1;

template <class C>
FASTNORM_OUTLINE void accumulate_slots(
    const C* weights, std::int64_t slots, RowBlock<C> rows, std::int64_t count, RowRegisters row, C* sums
) {
    constexpr int Q = slots_at_once<C>;
    for (std::int64_t s = 0; s < slots && row.width > 0; s += Q) {
        const C* const w = weights + s * attention_block;
        C* const to = sums + s * row.step();
        if (row.width < weight_lanes) {
            accumulate_registers<Q, 1>(w, rows, count, row, 0, C(1), to, Partial{int(row.width)});
            continue;
        }
        std::int64_t i = 0;
        for (; i + 1 < row.count(); i += 2)
            accumulate_registers<Q, 2>(w, rows, count, row, i, C(1), to, Whole{});
        if (i < row.count()) accumulate_registers<Q, 1>(w, rows, count, row, i, C(1), to, Whole{});
    }
}

// Writes register i of a row.
template <class T, class V>
FASTNORM_INLINE void put_register(
    const Head<element_t<V>>& to, std::int64_t at_row, RowRegisters row, std::int64_t i, V value
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

// Writes rows of sums, each times `scale`.
template <class T, class C = compute_t<T>>
void put_sums(const Head<C>& to, std::int64_t rows, RowRegisters row, const C* sums, C scale) {
    if (!to.matrix.contiguous) {
        to.for_elements(rows, 0, [&](std::int64_t j, std::int64_t c) FASTNORM_INLINE_LAMBDA {
            write_narrowed<T>(to.at(j, c), sums[j * row.step() + row.place(c)] * scale);
        });
        return;
    }
    using V = Vec<C, weight_lanes>;
    for (std::int64_t j = 0; j < rows; ++j) {
        for (std::int64_t i = 0; i < row.count(); ++i) {
            const V sum = load<V>(sums + j * row.step() + i * weight_lanes);
            put_register<T>(to, j, row, i, sum * broadcast<V>(scale));
        }
    }
}
template <class C>
using PutSums = void (*)(const Head<C>& to, std::int64_t rows, RowRegisters row, const C* sums, C scale);

FASTNORM_TARGET_END
