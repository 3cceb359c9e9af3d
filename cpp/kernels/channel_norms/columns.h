// Columns of the channel norms, where planes are too short to be rows: y, and dx, from the coefficients of
// each column.
#pragma once

#include "kernels/channel_norms/planes.h"

FASTNORM_TARGET_BEGIN

// The coefficients of the columns of channels [begin, end).
template <class S>
void column_coefficients(const ChannelForward& task, std::int64_t begin, std::int64_t end) {
    using V = Vec<double, channel_lanes>;
    const Channels& size = task.size;
    const std::int64_t cols = size.columns();
    double* const centres = task.coefficients;
    double* const factors = centres + cols;
    double* const offsets = factors + cols;
    if (size.inner == 1) {
        const S* weight = static_cast<const S*>(task.weight);
        const S* bias = static_cast<const S*>(task.bias);
        for_columns<channel_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V mean = load_columns<V>(task.mean + j, step), rstd = load_columns<V>(task.rstd + j, step);
            V centre = mean;
            if constexpr (sizeof(S) == 4) centre = to_double(to_float(mean));
            const V factor = weight ? rstd * load_columns<V>(weight + j, step) : rstd;
            const V base = bias ? load_columns<V>(bias + j, step) : broadcast<V>(0);
            store_columns(centres + j, centre, step);
            store_columns(factors + j, factor, step);
            store_columns(offsets + j, base - (mean - centre) * factor, step);
        });
        return;
    }
    for (std::int64_t c = begin; c < end; ++c) {
        const Affine affine = affine_of<S>(task, 0, c);
        for (std::int64_t j = c * size.inner; j < (c + 1) * size.inner; ++j) {
            centres[j] = affine.centre;
            factors[j] = affine.factor;
            offsets[j] = affine.offset;
        }
    }
}

// Whether the coefficients of columns can be used in float: centre and factor, and slope and offset where
// there are four and they matter.
template <class V, int Kinds>
FASTNORM_INLINE auto columns_fit(const V (&values)[Kinds], bool through) {
    auto fit = lanes_fit(values[1], values[0]);
    if constexpr (Kinds == 4) {
        if (through) fit = fit & lanes_fit(values[2], values[3]);
    }
    return fit;
}

// Columns whose coefficients are converted together for all rows of a tile.
constexpr std::int64_t column_block = 256;

// Whether rows of `cols` elements follow one another in memory.
template <class T>
FASTNORM_INLINE bool are_adjacent(const T* const* rows, int count, std::int64_t cols) {
    bool adjacent = true;
    for (int r = 1; r < count; ++r) adjacent = adjacent && rows[r] == rows[0] + r * cols;
    return adjacent;
}

// Calls body(column, step) over [0, end) with every step partial, if only in name: where code should be
// small.
template <class Body>
FASTNORM_INLINE void for_partial_columns(std::int64_t end, Body body) {
    for (std::int64_t j = 0; j < end; j += row_lanes) body(j, Partial{int(smaller(row_lanes, end - j))});
}

// targets[r][j] = value(r, j, step, coefficients of the columns): `Kinds` arrays of `cols` coefficients, used
// in the compute type where they fit, else in double. Memory is walked in order, rows that are `adjacent`
// (then r is 0) as one whose coefficients recur: 65536 x 128 into memory that begins between lines takes 4.6
// ms on one Ice Lake core, 9.5 down the rows a vector of columns at a time (copying it 3.1).
template <int Kinds, class T, class Value>
FASTNORM_INLINE void write_column_rows(
    const double* coefficients, std::int64_t cols, T* const* targets, int count, bool adjacent, bool through,
    bool streaming, Value value
) {
    using D = Vec<double, row_lanes>;
    using S = compute_t<T>;
    using V = Vec<S, row_lanes>;
    const bool streams = streaming && sizeof(T) == sizeof(S);
    S narrow[Kinds][column_block + row_lanes];
    for (std::int64_t start = 0; start < cols; start += column_block) {
        const std::int64_t block = smaller(column_block, cols - start);
        bool fit = true;
        for_partial_columns(block, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            V values[Kinds];
            FASTNORM_UNROLL
            for (int k = 0; k < Kinds; ++k) {
                values[k] = as_stored<S>(load_columns<D>(coefficients + k * cols + start + j, step, 1));
                store_columns(narrow[k] + j, values[k], step);
            }
            fit = fit && !any(!columns_fit(values, through));
        });
        if (sizeof(S) == 4 && !fit) {
            for (int r = 0; r < count; ++r) {
                for_partial_columns(block, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                    V values[Kinds];
                    D wide[Kinds];
                    FASTNORM_UNROLL
                    for (int k = 0; k < Kinds; ++k) {
                        values[k] = load_columns<V>(narrow[k] + j, step, 1);
                        wide[k] = load_columns<D>(coefficients + k * cols + start + j, step, 1);
                    }
                    const V exact = as_stored<S>(value(r, start + j, step, wide));
                    const V result =
                        select(columns_fit(values, through), value(r, start + j, step, values), exact);
                    store_columns(targets[r] + start + j, result, step);
                });
            }
            continue;
        }
        const bool together = adjacent && block == cols;
        std::int64_t period = block;
        while (period < row_lanes) period += block;
        for (int k = 0; k < Kinds; ++k) {
            for (std::int64_t j = block; j < period + row_lanes; ++j) narrow[k][j] = narrow[k][j - block];
        }
        for (int r = 0; r < (together ? 1 : count); ++r) {
            T* const target = targets[r] + start;
            const std::int64_t length = together ? count * cols : block;
            std::int64_t place = 0;
            const std::int64_t head = streams ? columns_to_alignment(target, length) : 0;
            for_columns_after<row_lanes>(head, length, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                V values[Kinds];
                FASTNORM_UNROLL
                for (int k = 0; k < Kinds; ++k) values[k] = load<V>(narrow[k] + place);
                write_columns(target + j, value(r, start + j, step, values), step, streams);
                place += step.partial ? step.count : row_lanes;
                if (place >= period) place -= period;
            });
        }
    }
}

template <class T>
void apply_columns(const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, std::int64_t first, int count) {
    const std::int64_t cols = task.size.columns();
    x.fetch(first, count);
    y.select(first);
    const T* sources[tile_rows];
    T* targets[tile_rows];
    for (int r = 0; r < count; ++r) sources[r] = x.row(r), targets[r] = y.row(r);
    write_column_rows<3>(
        task.coefficients, cols, targets, count,
        are_adjacent(sources, count, cols) && are_adjacent(targets, count, cols), true, task.stream,
        [&](int r, std::int64_t j, auto step, const auto* values) FASTNORM_INLINE_LAMBDA {
            auto centre = values[0];
            return mul_add(
                load_columns<decltype(centre)>(sources[r] + j, step) - centre, values[1], values[2]
            );
        }
    );
    y.write_back(first, count);
}

// The coefficients of the columns of channels [begin, end): for the sums only the mean is needed, and known.
template <class S>
void gradient_coefficients(const ChannelBackward& task, std::int64_t begin, std::int64_t end) {
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const std::int64_t cols = size.columns();
    if (size.inner == 1) {
        using V = Vec<double, channel_lanes>;
        const S* weight = static_cast<const S*>(forward.weight);
        double* const target = task.coefficients;
        for_columns<channel_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V rstd = load_columns<V>(forward.rstd + j, step);
            const V factor = weight ? rstd * load_columns<V>(weight + j, step) : rstd;
            store_columns(target + j, load_columns<V>(forward.mean + j, step), step);
            store_columns(target + cols + j, factor, step);
            store_columns(target + 2 * cols + j, load_columns<V>(task.slope + j, step), step);
            store_columns(target + 3 * cols + j, load_columns<V>(task.offset + j, step), step);
        });
        return;
    }
    for (std::int64_t c = begin; c < end; ++c) {
        const double values[] = {
            forward.mean[c], forward.rstd[c] * parameter_of<S>(size, forward.weight, 0, c, 1), task.slope[c],
            task.offset[c]
        };
        for (std::int64_t j = c * size.inner; j < (c + 1) * size.inner; ++j) {
            for (int k = 0; k < 4; ++k) task.coefficients[k * cols + j] = values[k];
        }
    }
}

template <class T>
void column_gradients(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, RowTile<T>& dx, std::int64_t first, int count
) {
    const std::int64_t cols = task.forward.size.columns();
    const bool through = task.through;
    dy.fetch(first, count);
    if (through) x.fetch(first, count);
    dx.select(first);
    const T* dy_rows[tile_rows];
    const T* x_rows[tile_rows];
    T* targets[tile_rows];
    for (int r = 0; r < count; ++r) {
        dy_rows[r] = dy.row(r), targets[r] = dx.row(r);
        x_rows[r] = through ? x.row(r) : dy_rows[r];
    }
    write_column_rows<4>(
        task.coefficients, cols, targets, count,
        are_adjacent(dy_rows, count, cols) && are_adjacent(x_rows, count, cols) &&
            are_adjacent(targets, count, cols),
        through, task.stream,
        [&](int r, std::int64_t j, auto step, const auto* values) FASTNORM_INLINE_LAMBDA {
            auto centre = values[0];
            using V = decltype(centre);
            const V change = load_columns<V>(dy_rows[r] + j, step);
            if (!through) return change * values[1];
            const V along = mul_add(load_columns<V>(x_rows[r] + j, step) - centre, values[2], values[3]);
            return mul_add(change, values[1], along);
        }
    );
    dx.write_back(first, count);
}

FASTNORM_TARGET_END
