// moments: mean and variance of each channel of (outer, channels, inner) values, in double, from one
// read of x: what the forward of batch_norm and group_norm begins with too.
//
// A part (a segment of a plane, a block of a column) is summed around one of its own values, s: d = x - s,
// mean = s + sum d / n, m2 = sum d^2 - (sum d)^2 / n. As (s - mean)^2 <= m2, its cancellation costs at most n
// * 2^-53 whatever the mean. Parts are merged by the rule of Chan, Golub and LeVeque ("Updating Formulae and
// a Pairwise Algorithm for Computing Sample Variances", 1979): with d = mean_b - mean_a and n = n_a + n_b,
//   mean = mean_a + d * n_b / n,  m2 = m2_a + m2_b + d^2 * n_a * n_b / n,
// which cancels nothing but the rounding of the means. Parts are short, so m2 is good to about 1e-13 + 2^-51
// |mean| / deviation, where one pass over everything would lose n * 2^-53.
#pragma once

#include "kernels/loops/row_tile.h"
#include "kernels/norms/layer_norm.h"
#include "tasks/channel_norms.h"

FASTNORM_TARGET_BEGIN

struct Moments {
    double mean, m2;
};

FASTNORM_INLINE Moments merged(Moments a, double count_a, Moments b, double count_b) {
    const double d = b.mean - a.mean, share = count_b / (count_a + count_b);
    return {a.mean + d * share, a.m2 + (b.m2 + d * d * (count_a * share))};
}

// Longer planes are cut: a bound on n above, and the rounding of longer sums.
constexpr std::int64_t segment_cols = 8192;

template <class T>
FASTNORM_INLINE Moments segment_moments(const T* x, std::int64_t cols) {
    if (cols == 1) {
        const double value = widen(*x), d = value - value;  // 0, or NaN
        return {value + d, d};
    }
    if constexpr (sizeof(compute_t<T>) == 8) {
        const DoubleMoments moments = double_moments(x, cols, 1);
        return {moments.mean + moments.mean_rest, moments.variance * double(cols)};
    } else {
        const RowMoments moments = moments_in_double(x, cols);
        return {moments.mean, moments.variance * double(cols)};
    }
}

// Moments of a contiguous plane.
template <class T>
Moments plane_moments(const T* x, std::int64_t cols) {
    Moments total = segment_moments(x, smaller(segment_cols, cols));
    for (std::int64_t start = segment_cols; start < cols; start += segment_cols) {
        const std::int64_t count = smaller(segment_cols, cols - start);
        total = merged(total, double(start), segment_moments(x + start, count), double(count));
    }
    return total;
}

// Sums by block and channel (or column): `kinds` arrays of blocks x step, of which the first column is
// `first`.
struct Partials {
    double* data;
    std::int64_t blocks, step, first;

    FASTNORM_INLINE double* at(int kind, std::int64_t block, std::int64_t column) const {
        return data + (kind * blocks + block) * step + (column - first);
    }
};

FASTNORM_INLINE bool streams_planes(bool stream, const Channels& size, std::int64_t item) {
    return stream && size.inner * item >= 512;
}

// The moments of the planes of one block and channels [begin, end).
template <class T>
void block_moments(
    const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, const Partials& partials, std::int64_t block,
    std::int64_t begin, std::int64_t end
) {
    const Channels& size = task.size;
    const std::int64_t start = block * size.block_outer, stop = smaller(start + size.block_outer, size.outer);
    for (std::int64_t o = start; o < stop; ++o) {
        const double before = double(o - start) * double(size.inner);
        for (std::int64_t c = begin; c < end; c += tile_rows) {
            const int count = int(smaller(tile_rows, end - c));
            x.fetch(o * size.channels + c, count);
            y.select(o * size.channels + c);
            for (int i = 0; i < count; ++i) {
                Moments moments = plane_moments(x.row(i), size.inner);
                double* mean = partials.at(0, block, c + i);
                double* m2 = partials.at(1, block, c + i);
                if (o > start) moments = merged({*mean, *m2}, before, moments, double(size.inner));
                *mean = moments.mean;
                *m2 = moments.m2;
            }
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
    RowTile<T> x(size.shape, task.x, space), y(size.shape, task.y, space);
    const Partials partials{task.partials, size.blocks(), size.columns(), 0};
    for (std::int64_t block = begin; block < end; ++block) {
        if (size.planes) {
            block_moments<T>(task, x, y, partials, block, 0, size.channels);
        } else {
            block_column_moments<T>(task, x, partials, block, reinterpret_cast<double*>(space));
        }
    }
}

FASTNORM_TARGET_END
