// The sums that the gradients of the channel norms need of columns, d = x - mean: sum dy, sum dy * d, sum d,
// and what follows from them for each channel.
//
// The means of the gradients follow from these, as the weight is the same all over a plane. A given mean is
// rounded; sum d / n is what it lacks (norms/gradient_sums.h), so xhat = (d - rest) * rstd and
//   dx = dy * rstd * weight + d * slope + offset,
//   slope = -rstd^3 * (sum h * d - rest * sum h) / n,  offset = -rstd * sum h / n - slope * rest.
#pragma once

#include "kernels/channel_norms/planes.h"

FASTNORM_TARGET_BEGIN

// Sums of dy, dy * d and d of a vector of columns over the rows of a tile, in compute type C.
template <class C, class T, class Step>
FASTNORM_INLINE void tile_column_sums(
    const T* const* dy, const T* const* x, int count, std::int64_t cols, std::int64_t j, Step step,
    Vec<C, row_lanes> centre, Vec<double, row_lanes>* sums
) {
    using V = Vec<C, row_lanes>;
    V dy_sum = broadcast<V>(0), dy_d_sum = dy_sum, d_sum = dy_sum;
    for (int r = 0; r < count; ++r) {
        prefetch_read(dy[r] + tile_rows * cols + j);
        prefetch_read(x[r] + tile_rows * cols + j);
        const V dy_r = load_columns<V>(dy[r] + j, step), d = load_columns<V>(x[r] + j, step) - centre;
        dy_sum = dy_sum + dy_r;
        dy_d_sum = mul_add(dy_r, d, dy_d_sum);
        d_sum = d_sum + d;
    }
    if constexpr (sizeof(C) == 8) {
        sums[0] = dy_sum, sums[1] = dy_d_sum, sums[2] = d_sum;
    } else {
        sums[0] = to_double(dy_sum), sums[1] = to_double(dy_d_sum), sums[2] = to_double(d_sum);
    }
}

// The sums of each column over one block of rows: in the compute type over a tile, then in double.
template <class T>
void block_column_sums(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, const Partials& partials, std::int64_t block
) {
    using D = Vec<double, row_lanes>;
    using S = compute_t<T>;
    const Channels& size = task.forward.size;
    const std::int64_t cols = size.columns();
    const std::int64_t start = block * size.block_outer, stop = smaller(start + size.block_outer, size.outer);
    const double* const centres = task.coefficients;
    for (std::int64_t first = start; first < stop; first += tile_rows) {
        const int count = int(smaller(tile_rows, stop - first));
        dy.fetch(first, count);
        x.fetch(first, count);
        const T* dy_rows[tile_rows];
        const T* x_rows[tile_rows];
        for (int r = 0; r < count; ++r) dy_rows[r] = dy.row(r), x_rows[r] = x.row(r);
        const bool begins = first == start;
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const D centre = load_columns<D>(centres + j, step);
            D sums[3];
            tile_column_sums<S>(dy_rows, x_rows, count, cols, j, step, as_stored<S>(centre), sums);
            if constexpr (sizeof(S) == 4) {
                const auto fits = abs(centre) <= broadcast<D>(0x1p120);
                if (any(!fits)) {
                    D exact[3];
                    tile_column_sums<double>(dy_rows, x_rows, count, cols, j, step, centre, exact);
                    for (int kind = 0; kind < 3; ++kind) sums[kind] = select(fits, sums[kind], exact[kind]);
                }
            }
            FASTNORM_UNROLL
            for (int kind = 0; kind < 3; ++kind) {
                double* const total = partials.at(kind, block, j);
                store_columns(total, begins ? sums[kind] : load_columns<D>(total, step) + sums[kind], step);
            }
        });
    }
}

// What finish_column_sums leaves of channels of one column each, a vector of them at a time, from the sums of
// all blocks.
template <class S>
FASTNORM_INLINE void finish_single_columns(
    const ChannelBackward& task, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    using V = Vec<double, channel_lanes>;
    const ChannelForward& forward = task.forward;
    const S* weights = static_cast<const S*>(forward.weight);
    const V n = broadcast<V>(forward.size.count()), zero = broadcast<V>(0);
    for_columns<channel_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V sums[3];
        for (int kind = 0; kind < 3; ++kind)
            sums[kind] = zero + load_columns<V>(partials.at(kind, 0, j), step);
        const V rstd = load_columns<V>(forward.rstd + j, step);
        V rest = sums[2] / n;
        if (!task.through) {
            const V mean = load_columns<V>(forward.mean + j, step);
            V rounded = mean;
            if constexpr (sizeof(S) == 4) rounded = to_double(to_float(mean));
            rest = mean - rounded;
        }
        S* const dweight = static_cast<S*>(task.dweight);
        S* const dbias = static_cast<S*>(task.dbias);
        if (dweight) store_columns(dweight + j, rstd * (sums[1] - rest * sums[0]), step);
        if (dbias) store_columns(dbias + j, sums[0], step);
        const V weight = weights ? load_columns<V>(weights + j, step) : broadcast<V>(1);
        const V h = weight * sums[0], h_d = weight * sums[1];
        const V slope = -rstd * rstd * rstd * (h_d - rest * h) / n;
        const V offset = -rstd * h / n - slope * rest;
        store_columns(task.slope + j, task.through ? slope : zero, step);
        store_columns(task.offset + j, task.through ? offset : zero, step);
    });
}

// dweight, dbias, slope and offset of channels [begin, end) from the sums of their columns.
template <class S>
void finish_column_sums(
    const ChannelBackward& task, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    using V = Vec<double, channel_lanes>;
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const std::int64_t per_channel = size.inner;
    const double n = size.count();
    for (int kind = 0; kind < 3; ++kind) {
        for_columns<channel_lanes>(
            begin * per_channel, end * per_channel, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                V total = load_columns<V>(partials.at(kind, 0, j), step);
                for (std::int64_t block = 1; block < partials.blocks; ++block) {
                    total = total + load_columns<V>(partials.at(kind, block, j), step);
                }
                store_columns(partials.at(kind, 0, j), total, step);
            }
        );
    }
    if (per_channel == 1) return finish_single_columns<S>(task, partials, begin, end);
    for (std::int64_t c = begin; c < end; ++c) {
        const double rstd = forward.rstd[c];
        double sums[3] = {};
        for (int kind = 0; kind < 3; ++kind) {
            for (std::int64_t l = 0; l < per_channel; ++l)
                sums[kind] += *partials.at(kind, 0, c * per_channel + l);
        }
        // What the rounded mean lacks: found from x, or known where the statistics are given for good.
        const double rest = task.through ? sums[2] / n : forward.mean[c] - double(S(forward.mean[c]));
        if (task.dweight) static_cast<S*>(task.dweight)[c] = S(rstd * (sums[1] - rest * sums[0]));
        if (task.dbias) static_cast<S*>(task.dbias)[c] = S(sums[0]);
        const double weight = parameter_of<S>(size, forward.weight, 0, c, 1);
        const double h = weight * sums[0], h_d = weight * sums[1];
        const double slope = -rstd * rstd * rstd * (h_d - rest * h) / n;
        task.slope[c] = task.through ? slope : 0;
        task.offset[c] = task.through ? -rstd * h / n - slope * rest : 0;
    }
}

FASTNORM_TARGET_END
