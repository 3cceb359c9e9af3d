// Dropout of a matrix by squares of sixteen rows and sixteen lanes, each a group of the random numbers of
// `dropout` (kernels/regularisers/dropout.h): it is made where the square is met, in whatever order and as
// often as that is.
#pragma once

#include "kernels/regularisers/dropout.h"

FASTNORM_TARGET_BEGIN

constexpr int square_side = 16;
static_assert(square_side * square_side == dropout_group, "a square has the numbers of a group");

// Which group a square is: `first` that of the first row and lane, and steps from one square to the next.
struct SquarePlaces {
    std::int64_t first, row_step, lane_step;
    bool turned = false;  // the numbers of a group go down the rows, not along the lanes
};

template <class C>
class DroppedSquares {
    static constexpr int part = native<C>;
    using P = Vec<C, part>;

public:
    // Numbers are those of streams 2 stream and 2 stream + 1.
    FASTNORM_INLINE DroppedSquares(
        std::uint64_t seed, std::int64_t dropped, double scale, std::int64_t stream = 0
    )
        : seed_(seed), dropped_(dropped), stream_(2 * stream), scale_(C(scale)) {}

    FASTNORM_INLINE bool are_any() const { return dropped_ > 0; }

    // Drops numbers of rows that are `step` apart, of whole registers. It is a product, in which NaN stays.
    FASTNORM_OUTLINE void drop(
        C* data, std::int64_t step, std::int64_t rows, std::int64_t lanes, SquarePlaces places
    ) const {
        const PhiloxKeys keys(seed_);
        const P edge = broadcast<P>(C(1 + double(dropped_) / double(dropout_levels)));
        const P scale = broadcast<P>(scale_), zero = broadcast<P>(0);
        for (std::int64_t l = 0; l < lanes; l += square_side) {
            for (std::int64_t r = 0; r < rows; r += square_side) {
                alignas(64) float numbers[dropout_group];
                const std::int64_t group =
                    places.first + r / square_side * places.row_step + l / square_side * places.lane_step;
                make_numbers(keys, group, places.turned, numbers);
                for (std::int64_t j = r; j < smaller(r + square_side, rows); ++j) {
                    for (std::int64_t i = 0; i < smaller(square_side, lanes - l); i += part) {
                        C* const at = data + j * step + l + i;
                        const P number = load_row<P>(numbers + (j - r) * square_side + i);
                        store(at, load<P>(at) * select(number < edge, zero, scale));
                    }
                }
            }
        }
    }

private:
    FASTNORM_OUTLINE void make_numbers(
        const PhiloxKeys& keys, std::int64_t group, bool turned, float* numbers
    ) const {
        alignas(64) std::uint32_t upper[philox_words], lower[philox_words];
        const std::uint64_t block = std::uint64_t(group) * philox_blocks;
        const bool is_fine = dropped_ % 256 != 0;
        philox(keys, block, stream_, upper);
        if (is_fine) philox(keys, block, stream_ + 1, lower);
        const std::uint32_t* const rest = is_fine ? lower : nullptr;
        if (!turned) return store_numbers(upper, rest, numbers);
        float straight[dropout_group];
        store_numbers(upper, rest, straight);
        for (int i = 0; i < square_side; ++i) {
            for (int j = 0; j < square_side; ++j)
                numbers[i * square_side + j] = straight[j * square_side + i];
        }
    }

    std::uint64_t seed_;
    std::int64_t dropped_, stream_;
    C scale_;
};

FASTNORM_TARGET_END
