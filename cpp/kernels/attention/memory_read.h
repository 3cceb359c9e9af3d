// memory_read, attention of a single query: o = softmax(keys query) values, with the slots and the columns in
// the lanes where a tile has its queries: the same chains, so the same bits (attention.h). Its gradient needs
// one kernel, since each slot has one term:
//
//   dquery = scale dS keys,  dkeys = scale dS^T query,  dvalues = P^T dy
#pragma once

#include "kernels/attention/slots.h"

FASTNORM_TARGET_BEGIN

// Softmax has the slots in the lanes, the sum of the values its columns; the bits are those of `attend`.
template <class T>
void attend_one(const Attention& task, std::int64_t head, char* scratch) {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;
    SlotScores<T> slot(task, head, scratch);
    Head<C> values(task, moves_of<T>, task.values, task.width, head);
    values.take_space(scratch);
    const Head<C>& keys = slot.query.slots;
    if (values.matrix.row_stride == keys.matrix.row_stride)
        slot.query.beside =
            values.matrix.data - keys.matrix.data - rows_ahead * std::int64_t(keys.matrix.row_stride);
    const RowRegisters row{task.width};
    C* const sums = row.take_zeros<C>(scratch);
    RowSoftmax<C> softmax;
    const std::int64_t seen = slots_seen_by_one(task);
    for_blocks(seen, [&](std::int64_t first, std::int64_t count) {
        slot.fetch(first, count);
        if (task.linear) slot.to_linear_weights(count);
        const C decay = task.linear ? C(1) : softmax.weigh(slot.scores, count);
        slot.drop(first, count, slot.scores);
        accumulate_rows(slot.scores, values.rows(first, count), count, row, decay, sums);
    });
    const V share = broadcast<V>(task.linear ? C(1) : softmax.reciprocal());
    const Head<C> y(task, moves_of<T>, task.y, task.width, head);
    for (std::int64_t i = 0; i < row.count(); ++i)
        put_register<T>(y, 0, row, i, load<V>(sums + i * weight_lanes) * share);
    if (!task.weights.data) return;
    const Head<C> weights(task, moves_of<T>, task.weights, task.slots, head);
    for_blocks(seen, [&](std::int64_t first, std::int64_t count) {
        slot.fetch(first, count);
        if (task.linear) {
            slot.to_linear_weights(count);
        } else {
            slot.to_weights(count, softmax.peak);
            slot.map(count, [&](V weight) FASTNORM_INLINE_LAMBDA { return weight * share; });
        }
        slot.drop(first, count, slot.scores);
        for (std::int64_t j = 0; j < count; ++j) write_narrowed<T>(weights.at(0, first + j), slot.scores[j]);
    });
    for (std::int64_t j = seen; j < task.slots; ++j) write_narrowed<T>(weights.at(0, j), C(0));
}

// Rows of factors[j] * vector.
template <class T, class C = compute_t<T>>
void put_outer(
    const Head<C>& to, std::int64_t first, std::int64_t count, RowRegisters row, const C* factors,
    const C* vector, C scale
) {
    using V = Vec<C, weight_lanes>;
    for (std::int64_t i = 0; i < row.count(); ++i) {
        const V part = load<V>(vector + row.column(i));
        for (std::int64_t j = 0; j < count; ++j) {
            const V product = mul_add(broadcast<V>(factors[j]), part, broadcast<V>(0));
            put_register<T>(to, first + j, row, i, product * broadcast<V>(scale));
        }
    }
}

// A single query, with the slots in the lanes: dquery, and as each slot has one term only, dkeys and dvalues
// too.
template <class T>
void attend_one_backward(const AttentionBackward& task, std::int64_t head, char* scratch) {
    using C = compute_t<T>;
    using V = Vec<C, weight_lanes>;
    const Attention& forward = task.forward;
    SlotScores<T> slot(forward, head, scratch);
    const SlotProducts<T> dy(forward, task.dy, forward.values, forward.width, head, scratch);
    C gradients[attention_block];
    const auto fetch = [&](std::int64_t first, std::int64_t count) {
        const RowBlock<C> keys = slot.fetch(first, count);
        dy.fetch(first, count, [&](std::int64_t j, V products) FASTNORM_INLINE_LAMBDA {
            store(gradients + j, products);
        });
        fill_lanes(gradients, count, C(0));
        slot.drop(first, count, gradients);
        return keys;
    };
    RowSoftmax<C> softmax;
    double inner = 0;
    const std::int64_t seen = slots_seen_by_one(forward);
    for_blocks(forward.linear ? 0 : seen, [&](std::int64_t first, std::int64_t count) {
        fetch(first, count);
        const C decay = softmax.weigh(slot.scores, count);
        V sums = broadcast<V>(0);
        for (std::int64_t j = 0; j < count; j += weight_lanes) {
            sums = sums + load<V>(slot.scores + j) * load<V>(gradients + j);
        }
        inner = carried(inner, decay, sum(sums));
    });
    const C one_share = softmax.reciprocal();
    const V share = broadcast<V>(one_share), mean = broadcast<V>(C(inner * double(one_share)));

    const Head<C> dkeys(forward, moves_of<T>, task.dkeys, forward.dim, head),
        dvalues(forward, moves_of<T>, task.dvalues, forward.width, head);
    const RowRegisters query_row{forward.dim}, value_row{forward.width};
    C* const dquery = query_row.take_zeros<C>(scratch);
    const V scale = broadcast<V>(C(forward.scale)), zero = broadcast<V>(0);
    for_blocks(seen, [&](std::int64_t first, std::int64_t count) {
        const RowBlock<C> keys = fetch(first, count);
        for (std::int64_t j = 0; j < count; j += weight_lanes) {
            const V score = load<V>(slot.scores + j), gradient = load<V>(gradients + j);
            if (forward.linear) {
                store(slot.scores + j, linear_weight(score));
                store(gradients + j, select(score == broadcast<V>(minus_infinity<C>), zero, gradient));
            } else {
                const V weight = weight_of(score - broadcast<V>(softmax.peak)) * share;
                store(slot.scores + j, weight);
                store(gradients + j, weight * (gradient - mean));
            }
        }
        slot.pull_back(first, count, gradients);
        slot.drop(first, count, slot.scores);
        accumulate_rows(gradients, keys, count, query_row, C(1), dquery);
        put_outer<T>(dkeys, first, count, query_row, gradients, slot.query.vector, C(forward.scale));
        put_outer<T>(dvalues, first, count, value_row, slot.scores, dy.vector, C(1));
    });
    for (const Head<C>* to : {&dkeys, &dvalues}) {
        for (std::int64_t j = seen; j < forward.slots; ++j) {
            for (std::int64_t c = 0; c < to->cols; ++c) write_narrowed<T>(to->at(j, c), C(0));
        }
    }
    const Head<C> to_dquery(forward, moves_of<T>, task.dquery, forward.dim, head);
    for (std::int64_t i = 0; i < query_row.count(); ++i) {
        put_register<T>(to_dquery, 0, query_row, i, load<V>(dquery + i * weight_lanes) * scale);
    }
}

FASTNORM_TARGET_END
