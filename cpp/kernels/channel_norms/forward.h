// batch_norm, group_norm and instance_norm: y = (x - mean) * rstd * weight + bias with one mean and rstd for
// each channel of (outer, channels, inner) values, see tasks/channel_norms.h.
//
// Written y = fma(x - centre, factor, offset) in the compute type: centre is the mean rounded, factor = rstd
// * weight and offset = bias - (mean - centre) * factor are taken in double and rounded once. Four roundings,
// the contract's bound, whatever the mean: |error| <= 2^-24 * (3 |xhat * weight| + 2 |bias|) to first order.
// Channels whose coefficients leave float's comfortable range are written in double.
//
// Where a group of channels fits in the second-level cache its statistics and its results are made back to
// back, so that x is read from memory once.
#pragma once

#include "kernels/channel_norms/moments.h"
#include "kernels/norms/backward.h"

FASTNORM_TARGET_BEGIN

// y = (x - centre) * factor + offset. `rest` is what the centre lacks of the mean.
struct Affine {
    double centre, factor, offset;
};

template <class S>
FASTNORM_INLINE double parameter_of(
    const Channels& size, const void* values, std::int64_t o, std::int64_t c, double absent
) {
    if (!values) return absent;
    return static_cast<const S*>(
        values
    )[c % size.weight_period * size.weight_step + o * size.weight_outer_step];
}

template <class S>
FASTNORM_INLINE Affine affine_of(const ChannelForward& task, std::int64_t o, std::int64_t c) {
    const double mean = task.mean[c], centre = double(S(mean));
    const double factor = task.rstd[c] * parameter_of<S>(task.size, task.weight, o, c, 1);
    return {centre, factor, parameter_of<S>(task.size, task.bias, o, c, 0) - (mean - centre) * factor};
}

// Whether a coefficient can be used in float: neither near overflow nor near the subnormal numbers.
FASTNORM_INLINE bool factor_fits(double factor) {
    return factor == 0 || in_range(factor < 0 ? -factor : factor, 0x1p-100, 0x1p100);
}
FASTNORM_INLINE bool offset_fits(double offset) { return in_range(offset, -0x1p120, 0x1p120); }
// The same for lanes of columns. A factor of 0 does not count as fitting, as it may be one that float cannot
// hold.
template <class V>
FASTNORM_INLINE auto lanes_fit(V factor, V offset) {
    return (abs(factor) >= broadcast<V>(0x1p-100)) & (abs(factor) <= broadcast<V>(0x1p100)) &
           (abs(offset) <= broadcast<V>(0x1p120));
}

// target[j] = value(j, step) over a contiguous row, in lanes of V; past the caches if `streaming`.
template <class V, class T, class Value>
FASTNORM_INLINE void write_row(T* target, std::int64_t cols, bool streaming, Value value) {
    std::int64_t j = 0;
    if constexpr (sizeof(T) == sizeof(element_t<V>)) {
        if (streaming) {
            j = columns_to_alignment(target, cols);
            if (j > 0) store_columns(target, value(0, Partial{int(j)}), Partial{int(j)});
            for (; j + row_lanes <= cols; j += row_lanes) stream(target + j, value(j, Whole{}));
        }
    }
    for_columns<row_lanes>(j, cols, [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(target + k, value(k, step), step);
    });
}

template <class T, class C>
void apply_plane(const T* x, T* y, std::int64_t cols, const Affine& affine, bool streaming) {
    using V = Vec<C, row_lanes>;
    const V centre = broadcast<V>(C(affine.centre)), factor = broadcast<V>(C(affine.factor));
    const V offset = broadcast<V>(C(affine.offset));
    write_row<V>(y, cols, streaming, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return mul_add(load_columns<V>(x + j, step) - centre, factor, offset);
    });
}

// A tile of planes of one outer index, from channel c on.
template <class T>
void apply_planes(
    const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, std::int64_t o, std::int64_t c, int count
) {
    using S = compute_t<T>;
    const Channels& size = task.size;
    const std::int64_t first = o * size.channels + c;
    const bool streaming = streams_planes(task.stream, size, sizeof(T));
    x.fetch(first, count);
    y.select(first);
    for (int i = 0; i < count; ++i) {
        const Affine affine = affine_of<S>(task, o, c + i);
        const bool fits = sizeof(S) == 8 || (factor_fits(affine.factor) && offset_fits(affine.centre));
        (fits ? apply_plane<T, S> : apply_plane<T, double>)(x.row(i), y.row(i), size.inner, affine,
                                                            streaming);
    }
    y.write_back(first, count);
}

// ---- columns ----------------------------------------------------------------------------------------------

// The coefficients of the columns of channels [begin, end).
template <class S>
void column_coefficients(const ChannelForward& task, std::int64_t begin, std::int64_t end) {
    using V = Vec<double, row_lanes>;
    const Channels& size = task.size;
    const std::int64_t cols = size.columns();
    double* const centres = task.coefficients;
    double* const factors = centres + cols;
    double* const offsets = factors + cols;
    if (size.inner == 1) {
        const S* weight = static_cast<const S*>(task.weight);
        const S* bias = static_cast<const S*>(task.bias);
        for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
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

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T>
void channel_statistics(const ChannelForward& task, std::int64_t begin, std::int64_t end, void*) {
    using S = compute_t<T>;
    finish_statistics<S>(task, {task.partials, task.size.blocks(), task.size.columns(), 0}, begin, end);
    if (task.coefficients) column_coefficients<S>(task, begin, end);
}

template <class T>
void channel_apply(const ChannelForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(size.shape, task.x, space), y(size.shape, task.y, space);
    for (std::int64_t tile = begin; tile < end; ++tile) {
        if (size.planes) {
            const std::int64_t o = tile / size.tiles_across(), c = tile % size.tiles_across() * tile_rows;
            apply_planes<T>(task, x, y, o, c, int(smaller(tile_rows, size.channels - c)));
        } else {
            const std::int64_t first = tile * tile_rows;
            apply_columns<T>(task, x, y, first, int(smaller(tile_rows, size.outer - first)));
        }
    }
}

template <class T>
void channel_norm_forward(const ChannelForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(size.shape, task.x, space), y(size.shape, task.y, space);
    for (std::int64_t group = begin; group < end; ++group) {
        const std::int64_t first = group * size.group, last = smaller(first + size.group, size.channels);
        const Partials partials{reinterpret_cast<double*>(space), size.blocks(), size.group, first};
        for (std::int64_t block = 0; block < size.blocks(); ++block) {
            block_moments<T>(task, x, y, partials, block, first, last);
        }
        finish_statistics<compute_t<T>>(task, partials, first, last);
        for (std::int64_t o = 0; o < size.outer; ++o) {
            for (std::int64_t c = first; c < last; c += tile_rows) {
                apply_planes<T>(task, x, y, o, c, int(smaller(tile_rows, last - c)));
            }
        }
    }
}

FASTNORM_TARGET_END
