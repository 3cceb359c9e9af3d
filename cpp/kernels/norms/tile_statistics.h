// The statistics of sixteen rows of few columns at once, of float or half elements: in each lane what
// layer_norm.h and rms_norm.h do with a row. One function serves both norms; the rows of rms_norm have a mean
// of 0, which changes no bit.
#pragma once

#include "kernels/loops/tile_moments.h"
#include "kernels/norms/centring.h"

FASTNORM_TARGET_BEGIN

// Whether the rows of a task are taken so: fewer are taken one by one, as calls of few rows are not to pay
// for the tiles.
constexpr std::int64_t few_rows = 2 * tile_rows;
FASTNORM_INLINE bool has_few_columns(const Rows& shape, double eps) {
    return shape.cols <= few_columns && shape.rows >= few_rows && eps <= 0x1p100;
}

// Rows of float64 are taken one by one, and all where code is to be small: as much code again as for the
// rest.
template <class T>
constexpr bool takes_few = sizeof(compute_t<T>) == 4 && !is_compact;

struct TileStatistics {
    TileDoubles mean, rstd;
};

// How the rows are centred and scaled, xhat = fma(x - mean, rstd, shift): see Centre. A shift of -0 changes
// nothing.
struct TileCentre {
    TileFloats mean, rstd, shift;

    FASTNORM_INLINE TileFloats normalised(TileFloats x) const { return mul_add(x - mean, rstd, shift); }
};

FASTNORM_INLINE TileDoubles rstd_of_tile(TileDoubles variance, double eps) {
    return broadcast<TileDoubles>(1) / sqrt(variance + broadcast<TileDoubles>(eps));
}

// The statistics that rows are written with; eps is at most 2^100, so that they fit float. False where a row
// needs more than floats.
FASTNORM_INLINE bool measure_tile(
    TileColumns columns, bool centred, std::int64_t counted, double eps, TileStatistics& rows
) {
    if (centred) {
        TileMoments moments;
        if (!moments_of_tile(columns, counted, eps, moments)) return false;
        rows = {moments.mean, rstd_of_tile(moments.variance, eps)};
        return true;
    }
    const auto squares = folded_columns<1, float>(
        counted, true, [&](auto& part, std::int64_t j, auto order) FASTNORM_INLINE_LAMBDA {
            const TileFloats x = columns.at(j);
            part.add_product(0, x, x, order);
        }
    );
    const TileDoubles mean_square = squares.of[0] / broadcast<TileDoubles>(double(counted));
    rows = {broadcast<TileDoubles>(0), rstd_of_tile(mean_square, eps)};
    return all(
        (mean_square <= broadcast<TileDoubles>(0x1p100)) &
        (mean_square + broadcast<TileDoubles>(eps) >= broadcast<TileDoubles>(0x1p-100))
    );
}

// The statistics that are returned, before they are rounded.
FASTNORM_OUTLINE TileStatistics
returned_of_tile(TileColumns columns, bool centred, std::int64_t counted, double eps) {
    TileMoments moments;
    if (centred) {
        moments = tile_moments_in_double(columns, counted);
    } else {
        moments.mean = broadcast<TileDoubles>(0);
        moments.variance = tile_squares_in_double(columns, counted) / broadcast<TileDoubles>(double(counted));
    }
    return {moments.mean, rstd_of_tile(moments.variance, eps)};
}

FASTNORM_TARGET_END
