// Planes of the channel norms, one (outer, channel) each, once the statistics are known: y, and dx.
//
// Written y = fma(x - centre, factor, offset) in the compute type: centre is the mean rounded, factor = rstd
// * weight and offset = bias - (mean - centre) * factor are taken in double and rounded once. Four roundings,
// the contract's bound, whatever the mean: |error| <= 2^-24 * (3 |xhat * weight| + 2 |bias|) to first order.
// Channels whose coefficients leave float's comfortable range are written in double.
//
// dx = dy * factor + (x - centre) * slope + offset likewise, or dy * factor where the statistics are no
// functions of x.
#pragma once

#include "kernels/channel_norms/moments.h"

FASTNORM_TARGET_BEGIN

FASTNORM_INLINE bool streams_planes(bool stream, const Channels& size, std::int64_t item) {
    return stream && size.inner * item >= 512;
}

// y = (x - centre) * factor + offset.
struct Affine {
    double centre, factor, offset;
};

// The place of a channel's first weight, and one of its parameters from there.
FASTNORM_INLINE std::int64_t weight_place(const Channels& size, std::int64_t c) {
    return (c < size.weight_period ? c : c % size.weight_period) * size.weight_step;
}
template <class S>
FASTNORM_INLINE double weight_at(
    const Channels& size, const void* values, std::int64_t place, std::int64_t o, double absent
) {
    return values ? double(static_cast<const S*>(values)[place + o * size.weight_outer_step]) : absent;
}
template <class S>
FASTNORM_INLINE double parameter_of(
    const Channels& size, const void* values, std::int64_t o, std::int64_t c, double absent
) {
    return values ? weight_at<S>(size, values, weight_place(size, c), o, absent) : absent;
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

// y of a tile of planes. The last one first, as the first-level cache still has that: so for dx.
template <class T>
void apply_planes(const ChannelForward& task, RowTile<T>& x, RowTile<T>& y, const PlaneTile& tile) {
    using S = compute_t<T>;
    const Channels& size = task.size;
    const bool streaming = streams_planes(task.stream, size, sizeof(T));
    x.fetch(tile.first, tile.count);
    y.select(tile.first);
    for (int i = tile.count; i-- > 0;) {
        const Affine affine = affine_of<S>(task, tile.outer[i], tile.channel[i]);
        const bool fits = sizeof(S) == 8 || (factor_fits(affine.factor) && offset_fits(affine.centre));
        (fits ? apply_plane<T, S> : apply_plane<T, double>)(x.row(i), y.row(i), size.inner, affine,
                                                            streaming);
    }
    y.write_back(tile.first, tile.count);
}

struct Slopes {
    double centre, factor, slope, offset;
};

template <class T, class C>
void plane_gradient(
    const T* dy, const T* x, T* dx, std::int64_t cols, const Slopes& slopes, bool through, bool streaming
) {
    using V = Vec<C, row_lanes>;
    const V factor = broadcast<V>(C(slopes.factor));
    if (!through) {
        return write_row<V>(dx, cols, streaming, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            return load_columns<V>(dy + j, step) * factor;
        });
    }
    const V centre = broadcast<V>(C(slopes.centre)), slope = broadcast<V>(C(slopes.slope));
    const V offset = broadcast<V>(C(slopes.offset));
    write_row<V>(dx, cols, streaming, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V along = mul_add(load_columns<V>(x + j, step) - centre, slope, offset);
        return mul_add(load_columns<V>(dy + j, step), factor, along);
    });
}

// dx of a tile of planes.
template <class T>
void plane_gradients(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, RowTile<T>& dx, const PlaneTile& tile
) {
    using S = compute_t<T>;
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const bool streaming = streams_planes(task.stream, size, sizeof(T));
    dy.fetch(tile.first, tile.count);
    if (task.through) x.fetch(tile.first, tile.count);
    dx.select(tile.first);
    for (int i = tile.count; i-- > 0;) {
        const std::int64_t o = tile.outer[i], c = tile.channel[i];
        const double factor = forward.rstd[c] * parameter_of<S>(size, forward.weight, o, c, 1);
        const Slopes slopes{forward.mean[c], factor, task.slope[c], task.offset[c]};
        const bool along_fits = !task.through || (factor_fits(slopes.slope) && offset_fits(slopes.centre) &&
                                                  offset_fits(slopes.offset));
        const bool fits = sizeof(S) == 8 || (factor_fits(factor) && along_fits);
        (fits ? plane_gradient<T, S>
              : plane_gradient<T, double>)(dy.row(i), task.through ? x.row(i) : dy.row(i), dx.row(i),
                                           size.inner, slopes, task.through, streaming);
    }
    dx.write_back(tile.first, tile.count);
}

FASTNORM_TARGET_END
