// Dropout of weights: P becomes mask P / (1 - p), and its gradient dP likewise.
//
// The mask is that of dropout (kernels/regularisers/dropout.h) for an array of (heads, queries / 16, slots /
// 16, 16 slots, 16 queries), rounded up: a group of its random numbers is a square of sixteen queries and
// slots, made where it is met, in whatever order and as often as that is.
#pragma once

#include "kernels/attention/masks.h"
#include "kernels/regularisers/dropout.h"

FASTNORM_TARGET_BEGIN

constexpr int square = 16;
static_assert(square * square == dropout_group && attention_block % square == 0);

template <class C>
class DroppedWeights {
public:
    FASTNORM_INLINE DroppedWeights(const Attention& task, std::int64_t head)
        : seed_(task.seed),
          slot_squares_((task.slots + square - 1) / square),
          first_(head * ((task.queries + square - 1) / square) * slot_squares_),
          dropped_(task.dropped),
          scale_(C(task.dropout_scale)) {}

    // Drops weights, or gradients, of a tile and a block, whose lanes are queries from `lane` on and whose
    // rows are slots from `row` on, or, where `turned`, the other way round. Both begin with a square. It is
    // a product, in which NaN stays, as it does in what a query whose weights are NaN reads.
    FASTNORM_INLINE void drop(
        LaneRows<C> weights, std::int64_t lane, std::int64_t lanes, std::int64_t row, std::int64_t rows,
        bool turned
    ) const {
        if (dropped_ > 0) drop_squares(weights, lane, lanes, row, rows, turned);
    }

private:
    FASTNORM_OUTLINE void drop_squares(
        LaneRows<C> weights, std::int64_t lane, std::int64_t lanes, std::int64_t row, std::int64_t rows,
        bool turned
    ) const {
        using P = Part<C>;
        const PhiloxKeys keys(seed_);
        const P edge = broadcast<P>(C(1 + double(dropped_) / double(dropout_levels)));
        const P scale = broadcast<P>(scale_), zero = broadcast<P>(0);
        for (std::int64_t l = 0; l < lanes; l += square) {
            for (std::int64_t r = 0; r < rows; r += square) {
                const std::int64_t query = turned ? row + r : lane + l, slot = turned ? lane + l : row + r;
                alignas(64) float numbers[dropout_group];
                make_numbers(keys, query / square, slot / square, turned, numbers);
                for (std::int64_t j = r; j < smaller(r + square, rows); ++j) {
                    for (std::int64_t i = 0; i < smaller(square, lanes - l); i += part_lanes<C>) {
                        C* const at = weights.row(j) + l + i;
                        const P number = load_row<P>(numbers + (j - r) * square + i);
                        store(at, load<P>(at) * select(number < edge, zero, scale));
                    }
                }
            }
        }
    }

    // The numbers of a square, queries side by side, or slots where it is turned.
    FASTNORM_OUTLINE void make_numbers(
        const PhiloxKeys& keys, std::int64_t query_square, std::int64_t slot_square, bool turned,
        float* numbers
    ) const {
        alignas(64) std::uint32_t upper[philox_words], lower[philox_words];
        const std::uint64_t block =
            std::uint64_t(first_ + query_square * slot_squares_ + slot_square) * philox_blocks;
        const bool is_fine = dropped_ % 256 != 0;
        philox(keys, block, 0, upper);
        if (is_fine) philox(keys, block, 1, lower);
        if (!turned) return store_numbers(upper, is_fine ? lower : nullptr, numbers);
        float straight[dropout_group];
        store_numbers(upper, is_fine ? lower : nullptr, straight);
        for (int i = 0; i < square; ++i) {
            for (int j = 0; j < square; ++j) numbers[i * square + j] = straight[j * square + i];
        }
    }

    std::uint64_t seed_;
    std::int64_t slot_squares_, first_, dropped_;
    C scale_;
};

FASTNORM_TARGET_END
