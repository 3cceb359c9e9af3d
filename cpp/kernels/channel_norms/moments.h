// moments: mean and variance of each channel of (outer, channels, inner) values, in double, from one
// read of x: what the forward of batch_norm and group_norm begins with too.
//
// Planes: plane_sums.h, for `moments` itself always in double. Columns: a block of a column is summed in
// double around one of its own values, s: d = x - s, mean = s + sum d / n, m2 = sum d^2 - (sum d)^2 / n. As
// (s - mean)^2
// <= m2, its cancellation costs at most n * 2^-53 whatever the mean. Parts are short, so m2 is good to about
// 1e-13 + 2^-51 |mean| / deviation, where one pass over everything would lose n * 2^-53. They are merged as
// those of planes are.
#pragma once

#include "kernels/channel_norms/plane_sums.h"
#include "kernels/channel_norms/plane_tiles.h"
#include "kernels/loops/row_tile.h"
#include "tasks/channel_norms.h"

FASTNORM_TARGET_BEGIN

// Channels whose statistics are taken together: groups of planes have few, and it is less code.
constexpr int channel_lanes = 4;

// Sums by block and channel (or column): `kinds` arrays of blocks x step, of which the first column is
// `first`.
struct Partials {
    double* data;
    std::int64_t blocks, step, first;

    FASTNORM_INLINE double* at(int kind, std::int64_t block, std::int64_t column) const {
        return data + (kind * blocks + block) * step + (column - first);
    }
    FASTNORM_INLINE PlaneSums plane(std::int64_t block, std::int64_t column) const {
        return {{*at(0, block, column), *at(1, block, column)}, *at(2, block, column), *at(3, block, column)};
    }
    FASTNORM_INLINE void set(std::int64_t block, std::int64_t column, const PlaneSums& sums) const {
        const double values[] = {sums.moments.mean, sums.moments.m2, sums.dy, sums.dy_d};
        for (int kind = 0; kind < 4; ++kind) *at(kind, block, column) = values[kind];
    }
};

// Two blocks merged, with the roundings of merge_blocks.
FASTNORM_INLINE Moments merged_blocks(Moments a, double count_a, Moments b, double count_b) {
    using V = Vec<double, 2>;
    const double d = b.mean - a.mean, ratio = count_b / (count_a + count_b);
    const V mean = mul_add(broadcast<V>(d), broadcast<V>(ratio), broadcast<V>(a.mean));
    const V rest = mul_add(broadcast<V>(d * d), broadcast<V>(count_a * ratio), broadcast<V>(b.m2));
    return {first(mean), a.m2 + first(rest)};
}

// The moments of the planes of outer indices [start, stop) and channels [begin, end), merged within blocks of
// `block_outer`, which may be several of one plane.
template <class T>
void block_moments(
    const ChannelForward& task, RowTile<T>& x, const Partials& partials, std::int64_t block_outer,
    std::int64_t start, std::int64_t stop, std::int64_t begin, std::int64_t end
) {
    const Channels& size = task.size;
    const bool exact = !task.rstd;  // the moments are what is wanted
    PlaneTiles tiles(size, start, stop, begin, end);
    for (PlaneTile tile; tiles.next(tile);) {
        x.fetch(tile.first, tile.count);
        for (int i = 0; i < tile.count; ++i) {
            const std::int64_t o = tile.outer[i], c = tile.channel[i];
            const std::int64_t block = block_outer == 1 ? o : o / block_outer;
            const double inner = double(size.inner), before = double(o - block * block_outer) * inner;
            double* const mean = partials.at(0, block, c);
            double* const m2 = partials.at(1, block, c);
            Moments moments = plane_sums<false, T>(x.row(i), nullptr, size.inner, task.eps, exact).moments;
            if (before > 0 && size.block_outer == 1) {
                moments = merged_blocks({*mean, *m2}, before, moments, inner);
            } else if (before > 0) {
                moments = merged({*mean, *m2}, before, moments, inner);
            }
            *mean = moments.mean;
            *m2 = moments.m2;
        }
    }
}

// The moments of each column over one block of rows; `shift` has room for one number a column.
template <class T>
void block_column_moments(
    const ChannelForward& task, RowTile<T>& x, const Partials& partials, std::int64_t block, double* shift
) {
    using V = Vec<double, row_lanes>;
    const Channels& size = task.size;
    const std::int64_t cols = size.columns();
    const std::int64_t start = block * size.block_outer, stop = smaller(start + size.block_outer, size.outer);
    double* const sums = partials.at(0, block, 0);
    double* const squares = partials.at(1, block, 0);
    for (std::int64_t first = start; first < stop; first += tile_rows) {
        const int count = int(smaller(tile_rows, stop - first));
        x.fetch(first, count);
        const T* rows[tile_rows];
        for (int r = 0; r < count; ++r) rows[r] = x.row(r);
        const bool begins = first == start;
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            V origin, sum_d = broadcast<V>(0), sum_d2 = broadcast<V>(0);
            if (begins) {
                origin = load_columns<V>(rows[0] + j, step);
                store_columns(shift + j, origin, step);
            } else {
                origin = load_columns<V>(shift + j, step);
                sum_d = load_columns<V>(sums + j, step);
                sum_d2 = load_columns<V>(squares + j, step);
            }
            for (int r = 0; r < count; ++r) {
                prefetch_read(rows[r] + tile_rows * cols + j);
                const V d = load_columns<V>(rows[r] + j, step) - origin;
                sum_d = sum_d + d;
                sum_d2 = mul_add(d, d, sum_d2);
            }
            store_columns(sums + j, sum_d, step);
            store_columns(squares + j, sum_d2, step);
        });
    }
    const V one_in_n = broadcast<V>(1 / double(stop - start)), zero = broadcast<V>(0);
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V sum_d = load_columns<V>(sums + j, step), average = sum_d * one_in_n;
        const V m2 = load_columns<V>(squares + j, step) - sum_d * average;
        store_columns(sums + j, load_columns<V>(shift + j, step) + average, step);
        // Rounding may leave a tiny negative number; NaN must stay.
        store_columns(squares + j, select(m2 < zero, zero, m2), step);
    });
}

// Merges the blocks of columns [begin, end): the first block then holds the moments of all.
FASTNORM_INLINE void merge_blocks(
    const Channels& size, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    using V = Vec<double, row_lanes>;
    const double weight = size.planes ? double(size.inner) : 1;  // values of a column in one row of the array
    for (std::int64_t block = 1; block < partials.blocks; ++block) {
        const std::int64_t start = block * size.block_outer;
        const double before = weight * double(start);
        const double count = weight * double(smaller(size.block_outer, size.outer - start));
        const double ratio = count / (before + count);
        const V share = broadcast<V>(ratio), product = broadcast<V>(before * ratio);
        for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V mean = load_columns<V>(partials.at(0, 0, j), step),
                    m2 = load_columns<V>(partials.at(1, 0, j), step);
            const V d = load_columns<V>(partials.at(0, block, j), step) - mean;
            const V rest = mul_add(d * d, product, load_columns<V>(partials.at(1, block, j), step));
            store_columns(partials.at(0, 0, j), mul_add(d, share, mean), step);
            store_columns(partials.at(1, 0, j), m2 + rest, step);
        });
    }
}

template <class T>
void channel_moments(const ChannelForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(size.shape, task.x, space);
    const Partials partials{task.partials, size.blocks(), size.columns(), 0};
    if (size.planes) {
        const std::int64_t start = begin * size.block_outer,
                           stop = smaller(end * size.block_outer, size.outer);
        return block_moments<T>(task, x, partials, size.block_outer, start, stop, 0, size.channels);
    }
    for (std::int64_t block = begin; block < end; ++block) {
        block_column_moments<T>(task, x, partials, block, reinterpret_cast<double*>(space));
    }
}

FASTNORM_TARGET_END
