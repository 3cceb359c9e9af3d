// batch_norm, group_norm and instance_norm: y = (x - mean) * rstd * weight + bias with one mean and rstd for each
// channel of (outer, channels, inner) values, see tasks/channel_norms.h.
//
// Written y = fma(x - centre, factor, offset) in the compute type: centre is the mean rounded, factor = rstd * weight
// and offset = bias - (mean - centre) * factor are taken in double and rounded once. Four roundings, the contract's
// bound, whatever the mean: |error| <= 2^-24 * (3 |xhat * weight| + 2 |bias|) to first order. Channels whose
// coefficients leave float's comfortable range are written in double.
//
// Where a group of channels fits in the second-level cache its statistics and its results are made back to back, so
// that x is read from memory once.
#pragma once

#include "kernels/channel_moments.h"
#include "kernels/norm_backward.h"

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
    return static_cast<const S*>(values)[c % size.weight_period * size.weight_step + o * size.weight_outer_step];
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
// The same for lanes of columns. A factor of 0 does not count as fitting, as it may be one that float cannot hold.
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

// Whether the rows of an array of columns are aligned for streaming.
template <class T>
FASTNORM_INLINE bool streams_columns(bool stream, const T* target, std::int64_t cols) {
    return stream && columns_to_alignment(target, row_lanes) == 0 && cols * std::int64_t(sizeof(T)) % 64 == 0;
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
void apply_planes(const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, std::int64_t o, std::int64_t c, int count) {
    using S = compute_t<T>;
    const Channels& size = task.size;
    const std::int64_t first = o * size.channels + c;
    const bool streaming = streams_planes(task.stream, size, sizeof(T));
    x.fetch(first, count);
    y.select(first);
    for (int i = 0; i < count; ++i) {
        const Affine affine = affine_of<S>(task, o, c + i);
        const bool fits = sizeof(S) == 8 || (factor_fits(affine.factor) && offset_fits(affine.centre));
        (fits ? apply_plane<T, S> : apply_plane<T, double>)(x.row(i), y.row(i), size.inner, affine, streaming);
    }
    y.write_back(first, count);
}

// ---- columns -------------------------------------------------------------------------------------------------------

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

template <class T>
void apply_columns(const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, std::int64_t first, int count) {
    using D = Vec<double, row_lanes>;
    using S = compute_t<T>;
    const std::int64_t cols = task.size.columns();
    const double* const centres = task.coefficients;
    const double* const factors = centres + cols;
    const double* const offsets = factors + cols;
    x.fetch(first, count);
    y.select(first);
    const T* sources[tile_rows];
    T* targets[tile_rows];
    for (int r = 0; r < count; ++r) sources[r] = x.row(r), targets[r] = y.row(r);
    const bool streaming = streams_columns(task.stream, targets[0], cols);
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const D centre = load_columns<D>(centres + j, step), factor = load_columns<D>(factors + j, step, 1);
        const D offset = load_columns<D>(offsets + j, step);
        const auto rows = [&](auto value) FASTNORM_INLINE_LAMBDA {
            for (int r = 0; r < count; ++r) {
                prefetch_read(sources[r] + tile_rows * cols + j);
                write_columns(targets[r] + j, value(sources[r] + j), step, streaming);
            }
        };
        const auto wide = [&](const T* source) FASTNORM_INLINE_LAMBDA {
            return as_stored<S>(mul_add(load_columns<D>(source, step) - centre, factor, offset));
        };
        if constexpr (sizeof(S) == 8) {
            rows(wide);
        } else {
            using V = Vec<S, row_lanes>;
            const V c = to_float(centre), f = to_float(factor), o = to_float(offset);
            const auto narrow = [&](const T* source)
                                    FASTNORM_INLINE_LAMBDA { return mul_add(load_columns<V>(source, step) - c, f, o); };
            const auto fits = lanes_fit(f, c);
            if (any(!fits)) {
                rows([&](const T* source)
                         FASTNORM_INLINE_LAMBDA { return select(fits, narrow(source), wide(source)); });
            } else {
                rows(narrow);
            }
        }
    });
    y.write_back(first, count);
}

// ---- kernels -------------------------------------------------------------------------------------------------------

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
