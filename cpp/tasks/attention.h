// What the kernels of attention are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// A matrix for each head, `lead_stride` bytes apart along the leading axes. `contiguous` rows lie in memory
// as neighbours, aligned; any byte stride from row to row.
struct HeadMatrix {
    char* data;
    const std::int64_t* lead_stride;
    std::int64_t row_stride, col_stride;
    bool contiguous;
};

enum class MaskKind : int { none, boolean, additive };

// `heads` is the product of the leading axes. Per head query (queries x dim), keys (slots x dim), values
// (slots x width), mask (queries x slots; one byte, or the compute type, an element), y (queries x width) and
// weights (queries x slots, data null where they are not asked for). Query i does not see slots beyond i +
// diagonal, which is `slots` where it sees them all. Each `group` heads of queries, one after the other,
// share a head of keys and values: the heads of those, and of their gradients, are `heads / group`. Scores
// are bent to softcap * tanh(score / softcap) before the mask is added, unless that is 0. Of the weights
// those are dropped whose random number under the seed is among the first `dropped` of dropout_levels; the
// others are multiplied by dropout_scale.
struct Attention {
    int lead_axes;
    const std::int64_t* lead_extent;
    std::int64_t heads, queries, slots, dim, width;
    HeadMatrix query, keys, values, mask, y, weights;
    MaskKind mask_kind;
    double scale;
    bool linear;
    std::int64_t diagonal;
    std::int64_t group;
    double softcap = 0;
    std::uint64_t seed = 0;
    std::int64_t dropped = 0;
    double dropout_scale = 1;

    // Whether a head of keys has one query, whose gradient one kernel does.
    FASTNORM_INLINE constexpr bool has_one_query() const { return queries == 1 && group == 1; }
};

// The gradient of the same. `stats` holds three numbers of the compute type a query row, which the kernel of
// dquery leaves for the kernel of dkeys and dvalues.
struct AttentionBackward {
    Attention forward;
    HeadMatrix dy, dquery, dkeys, dvalues;
    void* stats;
};
constexpr std::int64_t attention_stats = 3;

// A tile is that many rows side by side in the lanes: two registers of 64 bytes. A unit of work is a tile of
// queries (of keys, for dkeys and dvalues, and of their heads) of a head.
constexpr std::int64_t tile_bytes = 128;
FASTNORM_INLINE constexpr std::int64_t attention_tile(Element element) {
    return tile_bytes / (element == Element::float64 ? 8 : 4);
}
FASTNORM_INLINE constexpr std::int64_t tiles_of(std::int64_t rows, std::int64_t tile) {
    return (rows + tile - 1) / tile;
}

// Rows of the other side that a tile meets at a time. Sums over them start at zero in every block, so that a
// sum of n terms is rounded at most block + n / block times.
constexpr std::int64_t attention_block = 64;

// Of a causal task a tile of queries meets the blocks of slots up to the last that one of them sees, and a
// tile of keys the blocks of queries from the first on that sees the block it lies in: the same pairs of
// blocks, so that the gradient of a slot has the same terms either way. These are the slots that are met
// before query `end`, and the query from which on slot `first` is met.
FASTNORM_INLINE constexpr std::int64_t slots_met(const Attention& task, std::int64_t end) {
    const std::int64_t seen = end + task.diagonal;
    if (seen <= 0) return 0;
    const std::int64_t whole = (seen + attention_block - 1) / attention_block * attention_block;
    return whole < task.slots ? whole : task.slots;
}
FASTNORM_INLINE constexpr std::int64_t queries_not_met(const Attention& task, std::int64_t first) {
    const std::int64_t query = first / attention_block * attention_block - task.diagonal;
    if (query <= 0) return 0;
    const std::int64_t whole = query / attention_block * attention_block;
    return whole < task.queries ? whole : task.queries;
}
// The slots that the one query of a task sees.
FASTNORM_INLINE constexpr std::int64_t slots_seen_by_one(const Attention& task) {
    const std::int64_t seen = 1 + task.diagonal;
    return seen <= 0 ? 0 : seen < task.slots ? seen : task.slots;
}

// Scratch of the forward: tiles of dim (operand and sum) and width, a block of scores and one of the mask,
// and packed rows of a block where they cannot be used in place.
FASTNORM_INLINE constexpr std::int64_t attention_scratch_bytes(std::int64_t dim, std::int64_t width) {
    const std::int64_t tiles = 2 * (dim + width) + 3 * attention_block;
    const std::int64_t rows = attention_block * ((dim + width) * 8 + 2 * 64);
    return tiles * tile_bytes + rows;
}

// Of up to so many slots the backward keeps scores and their gradients from one pass to the next: half a
// kilobyte of float32 a slot and thread. Beyond the second-level cache that still pays: 2 heads of 4096x32
// take 136 ms where computing them again took 226, 12 of 512x32 12.2 and 21.4 (Zen 4, one core).
constexpr std::int64_t attention_kept_slots = 4096;

// Sums of slots are added to in groups of this many.
constexpr std::int64_t slot_group = 8;
FASTNORM_INLINE constexpr std::int64_t whole_slot_groups(std::int64_t slots) {
    return (slots + slot_group - 1) / slot_group * slot_group;
}

// Scratch of the backward by tile: beside a forward's, scores and their gradients.
FASTNORM_INLINE constexpr std::int64_t attention_tile_scratch_bytes(const Attention& task) {
    const std::int64_t kept = task.slots <= attention_kept_slots ? task.slots : attention_block;
    return attention_scratch_bytes(task.dim, task.width) + 2 * kept * tile_bytes;
}
// By head, for numbers of `size` bytes: the same for a block of queries; sums of the slots, columns as whole
// groups of sixteen; another two packed blocks.
FASTNORM_INLINE constexpr std::int64_t attention_head_scratch_bytes(
    const Attention& task, std::int64_t size
) {
    const std::int64_t columns = (task.dim + 15) / 16 * 16 + (task.width + 15) / 16 * 16;
    const std::int64_t kept = whole_slot_groups(task.slots) * (2 * attention_block + columns) * size;
    return kept + 2 * attention_scratch_bytes(task.dim, task.width);
}

}  // namespace fastnorm
