// The moments of sixteen rows of few columns at once (column_tile.h): in each lane what moments.h does with a
// row, in the same order, so that the bits are the same. Where padded lanes of a row would add 0, nothing is
// added. Rows that need more than is here make a function return false: their tile is taken row by row.
#pragma once

#include "kernels/loops/column_tile.h"
#include "kernels/loops/moments.h"

FASTNORM_TARGET_BEGIN

static_assert(few_columns <= 2 * row_lanes, "longer rows have more vectors, and another near_mean");

template <class T, int N>
FASTNORM_INLINE bool all(Mask<T, N> mask) {
    return !any(!mask);
}

// Mean and variance of the rows.
struct TileMoments {
    TileDoubles mean, variance;
};
FASTNORM_INLINE TileMoments
moments_of_tile(TileDoubles shift, TileDoubles sum, TileDoubles squares, std::int64_t cols) {
    const TileDoubles one_in_n = broadcast<TileDoubles>(1 / double(cols)), zero = broadcast<TileDoubles>(0);
    const TileDoubles average = sum * one_in_n, centred = squares - sum * average;
    return {shift + average, select(zero > centred, zero, centred) * one_in_n};
}

// near_mean of the rows.
FASTNORM_INLINE TileFloats near_mean_of_tile(TileColumns columns, std::int64_t cols) {
    const TileFloats share = broadcast<TileFloats>(1.0f / row_lanes), past = columns.at(0) * share;
    const auto term = [&](int l) FASTNORM_INLINE_LAMBDA { return l < cols ? columns.at(l) * share : past; };
    TileFloats quarter[row_lanes / 4];
    if (cols <= row_lanes / 4) {
        const TileFloats others = past + past;
        FASTNORM_UNROLL
        for (int l = 0; l < row_lanes / 4; ++l) quarter[l] = (term(l) + past) + others;
    } else {
        for (int l = 0; l < row_lanes / 4; ++l)
            quarter[l] = (term(l) + term(l + 8)) + (term(l + 4) + term(l + 12));
    }
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

// Kinds sums of terms of the compute type C, folded to doubles: add(part, j, order) adds the terms of column
// j, the first ones or not, and `turns` is whether the second vector of a row, if it is a whole one, has a
// sum of its own (FoldedSum).
template <int Kinds, class C, class Add>
FASTNORM_INLINE Several<TileDoubles, Kinds> folded_columns(std::int64_t cols, bool turns, Add add) {
    using Part = Several<Vec<C, tile_rows>, Kinds>;
    using Total = Several<TileDoubles, Kinds>;
    const auto folded = [](const Part& part) FASTNORM_INLINE_LAMBDA {
        Total total;
        FASTNORM_UNROLL
        for (int k = 0; k < Kinds; ++k) total.of[k] = to_double(part.of[k]);
        return total;
    };
    if (cols <= row_lanes / 4) {
        return fold_four_lanes<TileDoubles, Kinds>(cols, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
            Part part;
            add(part, j, FirstTerm{});
            return folded(part);
        });
    }
    const bool alone = turns && cols == 2 * row_lanes;
    return fold_lanes<TileDoubles, Kinds>(cols, [&](std::int64_t l) FASTNORM_INLINE_LAMBDA {
        Part part;
        add(part, l, FirstTerm{});
        Total total = folded(part);
        if (l + row_lanes < cols) {
            if (alone) {
                FASTNORM_UNROLL
                for (int k = 0; k < Kinds; ++k) part.of[k] = broadcast<Vec<C, tile_rows>>(0);
            }
            add(part, l + row_lanes, NextTerm{});
            const Total whole = folded(part);
            if (alone) {
                total.add(whole);
            } else {
                total = whole;
            }
        }
        return total;
    });
}

// The moments around a shift. False in lanes whose shift has misled them, as MomentSums::are_good.
FASTNORM_INLINE Mask<double, tile_rows> moments_around(
    TileFloats shift, TileColumns columns, std::int64_t cols, double least, TileMoments& moments
) {
    const auto sums = folded_columns<2, float>(
        cols, true, [&](auto& part, std::int64_t j, auto first) FASTNORM_INLINE_LAMBDA {
            const TileFloats d = columns.at(j) - shift;
            part.add(0, d, first);
            part.add_product(1, d, d, first);
        }
    );
    const TileDoubles origin = to_double(shift);
    moments = moments_of_tile(origin, sums.of[0], sums.of[1], cols);
    const TileDoubles off = moments.mean - origin;
    const auto good = (off * off <= moments.variance) & (moments.variance <= broadcast<TileDoubles>(0x1p100));
    if (least >= 0x1p-100) return good;
    return good & (moments.variance + broadcast<TileDoubles>(least) >= broadcast<TileDoubles>(0x1p-100));
}

// Shorter rows than 16 have a shift that is mostly their first element. That is at most sqrt(cols - 1)
// deviations from the mean, and the shift 1 - cols / 16 of it: more than one where there are 3 to 10 columns,
// of which many rows are summed again around their mean. For these the second shift at once, where it is
// certain that the first misleads, else the first; what is wrong about that shows in the end. It misleads
// where (sum d / n)^2 > variance, 2 (sum d)^2 > n sum d^2; with so few terms floats err by much less than
// 2^-10, where the squares do not vanish.
FASTNORM_INLINE TileFloats likely_shift(TileFloats near, TileColumns columns, std::int64_t cols) {
    using V = TileFloats;
    V sum = broadcast<V>(0), squares = sum;
    const auto sums = folded_columns<1, float>(
        cols, true, [&](auto& part, std::int64_t j, auto first) FASTNORM_INLINE_LAMBDA {
            const V d = columns.at(j) - near;
            part.add(0, d, first);
            sum = sum + d;
            squares = mul_add(d, d, squares);
        }
    );
    const TileDoubles mean = to_double(near) + sums.of[0] * broadcast<TileDoubles>(1 / double(cols));
    const auto misleads = (sum * sum > squares * broadcast<V>(0.5f * float(cols) * (1 + 0x1p-10f))) &
                          (squares > broadcast<V>(0x1p-60f));
    return select(misleads, to_float(mean), near);
}

// MomentSums of the rows. False where one of them needs moments_in_double, and where a mean may be beyond
// 2^120.
FASTNORM_INLINE bool moments_of_tile(
    TileColumns columns, std::int64_t cols, double least, TileMoments& moments
) {
    enum { likely, first, second };  // the shift
    const TileFloats near = near_mean_of_tile(columns, cols), most = broadcast<TileFloats>(0x1p119f);
    const bool may_mislead = cols >= 3 && cols <= 10;
    TileFloats shift = may_mislead ? likely_shift(near, columns, cols) : near;
    TileMoments before;
    Mask<double, tile_rows> was_good;
    for (int attempt = may_mislead ? likely : first;; ++attempt) {
        if (!all(abs(shift) <= most)) return false;
        const auto good = moments_around(shift, columns, cols, least, moments);
        if (attempt == second) {
            moments.mean = select(was_good, before.mean, moments.mean);
            moments.variance = select(was_good, before.variance, moments.variance);
            return all(was_good | good);
        }
        if (all(good)) return true;
        shift = attempt == first ? to_float(moments.mean) : near;
        before = moments, was_good = good;
    }
}

// moments_in_double of the rows.
FASTNORM_OUTLINE TileMoments tile_moments_in_double(TileColumns columns, std::int64_t cols) {
    const TileDoubles origin = to_double(columns.at(0));
    const auto sums = folded_columns<2, double>(
        cols, false, [&](auto& part, std::int64_t j, auto first) FASTNORM_INLINE_LAMBDA {
            const TileDoubles d = to_double(columns.at(j)) - origin;
            part.add(0, d, first);
            part.add_product(1, d, d, first);
        }
    );
    return moments_of_tile(origin, sums.of[0], sums.of[1], cols);
}

// The sum of the squares of the rows in double lanes, as SquareSums::in_double takes it.
FASTNORM_OUTLINE TileDoubles tile_squares_in_double(TileColumns columns, std::int64_t cols) {
    return folded_columns<1, double>(
               cols, false, [&](auto& part, std::int64_t j, auto first) FASTNORM_INLINE_LAMBDA {
                   const TileDoubles value = to_double(columns.at(j));
                   part.add_product(0, value, value, first);
               }
    ).of[0];
}

FASTNORM_TARGET_END
