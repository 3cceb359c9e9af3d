// The backward of attention. With P the weights, dP = dy values^T and D = sum over slots of P dP:
//
//   dS = P (dP - D)              dP where there is no softmax; times the slope of a cap
//
// with dropout the values meet mask P / (1 - p), and dP is that times mask / (1 - p)
//   dquery = scale dS keys,  dkeys = scale dS^T query,  dvalues = P^T dy
//
// A tile of queries in the lanes meets the slots twice: first for peak, 1 / total and D of each query, then
// for P, dS and dquery. Of scores and dP two numbers a slot are kept from the first time for the second,
// unless there are too many slots. Then there are two ways to dkeys and dvalues, whose bits are the same: for
// each slot and column a chain over the queries of a block from zero on, and the blocks added in their order.
//
// By head: P and dS of a block of queries are kept for all slots, and the sums of a slot, columns in the
// lanes, take one more block: five products. By tile: another kernel has a tile of keys in the lanes, meets
// all queries and computes scores and dP again, with what the first has left of each query: seven products,
// but units small enough for more threads than there are heads, and for any number of slots.
//
// Where heads of queries share keys and values, either way goes on from head to head of the group with the
// same sums: a slot's blocks are added in the order of heads, then of queries.
#pragma once

#include "kernels/attention/memory_read.h"
#include "kernels/attention/score_tile.h"

FASTNORM_TARGET_BEGIN

// dquery of a tile, and the statistics of its queries. P and dS are left in rows for the slots, for all of
// them where `keeps`, else for a block.
template <class V>
void attend_backward_tile(
    const AttentionBackward& task, const Moves<element_t<V>>& moves, std::int64_t head, std::int64_t first,
    std::int64_t count, bool keeps, LaneRows<element_t<V>> all_weights, LaneRows<element_t<V>> all_gradients,
    char* scratch
) {
    using C = element_t<V>;
    using Tile = ScoreTile<V>;
    const Attention& forward = task.forward;
    Tile scores(forward, moves, true, head, first, count, scratch);
    GradientTile<V> tile(scores, task.dy, forward.values, head, scratch);
    C* sums = Tile::take_zeros(scratch, forward.dim);
    const LaneRows<C> online = Tile::take_block(scratch);
    const std::int64_t met = slots_met(forward, first + count);
    // Calls body(slot, slots, P, dP, whether it is the last block).
    const auto for_kept_blocks = [&](auto body) FASTNORM_INLINE_LAMBDA {
        for_blocks(met, [&](std::int64_t slot, std::int64_t slots) FASTNORM_INLINE_LAMBDA {
            const std::int64_t kept = keeps ? slot : 0;
            body(slot, slots, all_weights.from(kept), all_gradients.from(kept), slot + slots == met);
        });
    };
    OnlineSoftmax<V> softmax;
    Doubles<V> inner = broadcast<Doubles<V>>(0);
    for_kept_blocks([&](auto slot, auto slots, auto weights, auto gradients, bool is_last) {
        const std::int64_t seen = tile.scores.seen(slot, slots);
        const V highest = tile.fetch(slot, seen, weights, gradients);
        if (forward.linear) return;
        // The peak of the last block is the peak: its weights stay.
        const LaneRows<C> block = is_last ? weights : online;
        const V decay = softmax.weigh(weights, block, seen, highest);
        inner = mul_add(inner, to_double(decay), to_double(inner_product<V>(block, gradients, seen)));
    });
    const V share = softmax.reciprocal();
    const V mean = rounded<V>(inner * to_double(share));
    C* stats = static_cast<C*>(task.stats) + (head * forward.queries + first) * attention_stats;
    C lanes[attention_stats][Tile::lanes];
    store(lanes[0], softmax.peak);
    store(lanes[1], share);
    store(lanes[2], mean);
    for (std::int64_t i = 0; i < count; ++i) {
        for (int k = 0; k < attention_stats; ++k) stats[i * attention_stats + k] = lanes[k][i];
    }
    for_kept_blocks([&](auto slot, auto slots, auto weights, auto gradients, bool is_last) {
        const std::int64_t seen = tile.scores.seen(slot, slots);
        if (!keeps) tile.fetch(slot, seen, weights, gradients);
        for (std::int64_t j = 0; j < seen && !forward.linear; ++j) {
            const V kept = load<V>(weights.row(j));
            const V weight = (keeps && is_last ? kept : weight_of(kept - softmax.peak)) * share;
            store(weights.row(j), weight);
            store(gradients.row(j), weight * (load<V>(gradients.row(j)) - mean));
        }
        tile.scores.pull_back(slot, seen, gradients, online);
        tile.scores.drop(slot, seen, weights);
        for (const LaneRows<C> block : {weights, gradients}) {
            tile.scores.clear_hidden(slot, seen, block);
            Tile::clear(seen, slots, block);
        }
        const RowBlock<C> keys = tile.scores.rows.rows(slot, slots);
        accumulate<V>(gradients, keys, slots, forward.dim, broadcast<V>(1), sums);
    });
    Tile::multiply(sums, forward.dim, broadcast<V>(C(forward.scale)));
    Head<C>(forward, moves, task.dquery, forward.dim, head).write_tile(first, count, sums, Tile::lanes);
}

// Rows for P or dS of the slots.
template <class C>
FASTNORM_INLINE LaneRows<C> take_lane_rows(char*& scratch, std::int64_t rows, std::int64_t step) {
    C* const data = reinterpret_cast<C*>(scratch);
    scratch += rows * step * std::int64_t(sizeof(C));
    return {data, step};
}

template <class C>
void attend_backward_head(
    const AttentionBackward& task, const Moves<C>& moves, PutSums<C> put, std::int64_t first_head,
    char* scratch
) {
    const Attention& forward = task.forward;
    const std::int64_t slots = whole_slot_groups(forward.slots);
    const LaneRows<C> weights = take_lane_rows<C>(scratch, slots, attention_block),
                      gradients = take_lane_rows<C>(scratch, slots, attention_block);
    for (std::int64_t i = forward.slots * attention_block; i < slots * attention_block; ++i)
        weights.data[i] = gradients.data[i] = 0;
    const RowRegisters query_row{forward.dim}, value_row{forward.width};
    C* const dkeys = query_row.take_zeros<C>(scratch, slots);
    C* const dvalues = value_row.take_zeros<C>(scratch, slots);
    char* const space = scratch;
    for (std::int64_t head = first_head; head < first_head + forward.group; ++head) {
        scratch = space;
        Head<C> query(forward, moves, forward.query, forward.dim, head),
            dy(forward, moves, task.dy, forward.width, head);
        query.take_space(scratch), dy.take_space(scratch);
        for_blocks(forward.queries, [&](std::int64_t first, std::int64_t count) {
            const std::int64_t tiles = tiles_of(count, tile_bytes / std::int64_t(sizeof(C)));
            const std::int64_t met = slots_met(forward, first + attention_block);
            for_tiles<C>(count, 0, tiles, [&](auto tile, auto, auto lane, auto lanes) {
                using V = typename decltype(tile)::V;
                const LaneRows<C> tile_weights{weights.data + lane, weights.step},
                    tile_gradients{gradients.data + lane, gradients.step};
                attend_backward_tile<V>(
                    task, moves, head, first + lane, lanes, true, tile_weights, tile_gradients, scratch
                );
                for (std::int64_t j = slots_met(forward, first + lane + lanes); j < met; ++j) {
                    store(tile_weights.row(j), broadcast<V>(0));
                    store(tile_gradients.row(j), broadcast<V>(0));
                }
            });
            const std::int64_t whole = whole_slot_groups(met);
            accumulate_slots(weights.data, whole, dy.rows(first, count), count, value_row, dvalues);
            accumulate_slots(gradients.data, whole, query.rows(first, count), count, query_row, dkeys);
        });
    }
    put({forward, moves, task.dkeys, forward.dim, first_head}, forward.slots, query_row, dkeys,
        C(forward.scale));
    put({forward, moves, task.dvalues, forward.width, first_head}, forward.slots, value_row, dvalues, C(1));
}

template <class V>
void attend_backward_keys(
    const AttentionBackward& task, const Moves<element_t<V>>& moves, std::int64_t first_head,
    std::int64_t first, std::int64_t count, char* scratch
) {
    using C = element_t<V>;
    using Tile = ScoreTile<V>;
    const Attention& forward = task.forward;
    const LaneRows<C> weights = Tile::take_block(scratch), gradients = Tile::take_block(scratch);
    C* dkeys = Tile::take_zeros(scratch, forward.dim);
    C* dvalues = Tile::take_zeros(scratch, forward.width);
    const LaneRows<C> slopes = Tile::take_block(scratch);
    const V one = broadcast<V>(1);
    char* const space = scratch;
    for (std::int64_t head = first_head; head < first_head + forward.group; ++head) {
        scratch = space;
        Tile scores(forward, moves, false, head, first, count, scratch);
        GradientTile<V> tile(scores, forward.values, task.dy, head, scratch);
        const std::int64_t begin = queries_not_met(forward, first);
        for_blocks(begin, forward.queries, [&](std::int64_t query, std::int64_t queries) {
            tile.fetch(query, queries, weights, gradients);
            const C* stats =
                static_cast<const C*>(task.stats) + (head * forward.queries + query) * attention_stats;
            if (!forward.linear) {
                for (std::int64_t j = 0; j < queries; ++j, stats += attention_stats) {
                    const V weight =
                        weight_of(load<V>(weights.row(j)) - broadcast<V>(stats[0])) * broadcast<V>(stats[1]);
                    store(weights.row(j), weight);
                    store(gradients.row(j), weight * (load<V>(gradients.row(j)) - broadcast<V>(stats[2])));
                }
            }
            tile.scores.pull_back(query, queries, gradients, slopes);
            tile.scores.drop(query, queries, weights);
            for (const LaneRows<C> block : {weights, gradients})
                tile.scores.clear_hidden(query, queries, block);
            accumulate<V>(weights, tile.rows.rows(query, queries), queries, forward.width, one, dvalues);
            accumulate<V>(gradients, tile.scores.rows.rows(query, queries), queries, forward.dim, one, dkeys);
        });
    }
    Tile::multiply(dkeys, forward.dim, broadcast<V>(C(forward.scale)));
    Head<C>(forward, moves, task.dkeys, forward.dim, first_head).write_tile(first, count, dkeys, Tile::lanes);
    Head<C>(forward, moves, task.dvalues, forward.width, first_head)
        .write_tile(first, count, dvalues, Tile::lanes);
}

template <class T>
void attention_backward_heads(
    const AttentionBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t head = unit * task.forward.group;
        attend_backward_head(task, moves_of<T>, put_sums<T>, head, static_cast<char*>(scratch));
    }
}

template <class T>
void attention_backward_query(
    const AttentionBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    if (task.forward.has_one_query()) {
        for (std::int64_t head = begin; head < end; ++head) {
            attend_one_backward<T>(task, head, static_cast<char*>(scratch));
        }
        return;
    }
    for_tiles<T>(task.forward.queries, begin, end, [&](auto tile, auto head, auto first, auto count) {
        using V = typename decltype(tile)::V;
        char* space = static_cast<char*>(scratch);
        const bool keeps = task.forward.slots <= attention_kept_slots;
        const std::int64_t kept = keeps ? task.forward.slots : attention_block;
        const auto weights = take_lane_rows<compute_t<T>>(space, kept, lane_count<V>),
                   gradients = take_lane_rows<compute_t<T>>(space, kept, lane_count<V>);
        attend_backward_tile<V>(task, moves_of<T>, head, first, count, keeps, weights, gradients, space);
    });
}

// Nothing is left to do for a single query that shares its keys with no other.
template <class T>
void attention_backward_keys(
    const AttentionBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    if (task.forward.has_one_query()) return;
    for_tiles<T>(task.forward.slots, begin, end, [&](auto tile, auto head, auto first, auto count) {
        attend_backward_keys<typename decltype(tile)::V>(
            task, moves_of<T>, head * task.forward.group, first, count, static_cast<char*>(scratch)
        );
    });
}

FASTNORM_TARGET_END
