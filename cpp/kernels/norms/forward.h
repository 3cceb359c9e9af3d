// What the norms over rows share: parameters, how a row is centred and scaled, and how results are written.
#pragma once

#include "kernels/loops/row_tile.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// Rows whose statistics are taken together, for independent chains of additions: what the registers hold.
constexpr int forward_rows_together = native<float> >= 16 ? 2 : 1;
constexpr int backward_rows_together = native<float> >= 16 ? 4 : 1;

FASTNORM_INLINE bool in_range(double value, double least, double most) {
    return value >= least && value <= most;
}

// Whether a row can be centred and scaled in float: rstd, x - mean and their products stay far from its
// limits.
FASTNORM_INLINE bool fits_float(double mean, double rstd) {
    return in_range(rstd, 0x1p-100, 0x1p100) && in_range(mean, -0x1p120, 0x1p120);
}

// The power of two below `value`, kept within what has an inverse.
FASTNORM_INLINE double power_of_two_near(double value) {
    const int exponent = __builtin_ilogb(value);
    return __builtin_ldexp(1.0, exponent > 1000 ? 1000 : exponent < -1000 ? -1000 : exponent);
}

// A power of two that brings the larger of sqrt(eps) and the row's largest magnitude near 1; 1 where that is
// zero or not finite.
FASTNORM_INLINE double normalising_scale(const double* x, std::int64_t cols, double eps) {
    double most = __builtin_sqrt(eps);
    for (std::int64_t j = 0; j < cols; ++j) {
        const double magnitude = x[j] < 0 ? -x[j] : x[j];
        if (!(magnitude <= most)) most = magnitude;
    }
    return in_range(most, 0x1p-1074, 0x1.fffffffffffffp1023) ? 1 / power_of_two_near(most) : 1;
}

// How a row is centred and scaled: xhat = fma(x * scale - mean, rstd, shift) in compute type C. scale is 1
// but for float64 rows near the ends of its range; shift carries the part of the mean that rounding it to C
// left out.
template <class C>
struct Centre {
    C mean, rstd, shift;
    C scale;
};

template <class C>
FASTNORM_INLINE Centre<C> centre_of(double mean, double rstd) {
    const C rounded = C(mean);
    return {rounded, C(rstd), C(-(mean - double(rounded)) * rstd), C(1)};
}

// The same in every lane, for loops whose stores the compiler could not tell from a change of Centre.
template <class V>
struct CentreLanes {
    V mean, rstd, shift, scale;

    static FASTNORM_INLINE CentreLanes of(const Centre<element_t<V>>& centre) {
        return {
            broadcast<V>(centre.mean), broadcast<V>(centre.rstd), broadcast<V>(centre.shift),
            broadcast<V>(centre.scale)
        };
    }
};

// xhat of a vector of columns. Centred: layer_norm; else rms_norm, whose rows have no mean.
template <class V, bool Centred, class T, class Step>
FASTNORM_INLINE V normalised(const T* x, Step step, const CentreLanes<V>& centre) {
    V value = load_columns<V>(x, step);
    if constexpr (sizeof(compute_t<T>) == 8) value = value * centre.scale;
    if constexpr (Centred) {
        return mul_add(value - centre.mean, centre.rstd, centre.shift);
    } else {
        return value * centre.rstd;
    }
}

// weight and bias of the columns; absent ones count as 1 and -0, with which fma(xhat, weight, bias) is
// exactly what it is without them.
template <class S>
class Parameters {
public:
    FASTNORM_INLINE Parameters(const void* weight, const void* bias)
        : weight_(weight ? static_cast<const S*>(weight) : one),
          bias_(bias ? static_cast<const S*>(bias) : zero),
          weight_columns_(weight ? -1 : 0),
          bias_columns_(bias ? -1 : 0) {}

    template <class V, class Step>
    FASTNORM_INLINE V weight(std::int64_t j, Step step) const {
        return load_columns<V>(weight_ + (j & weight_columns_), step);
    }
    template <class V, class Step>
    FASTNORM_INLINE V bias(std::int64_t j, Step step) const {
        return load_columns<V>(bias_ + (j & bias_columns_), step);
    }

private:
    static constexpr S one[row_lanes] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static constexpr S zero[row_lanes] = {-S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0),
                                          -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0)};

    const S* weight_;
    const S* bias_;
    std::int64_t weight_columns_, bias_columns_;  // masks of j
};

// Memory sits idle while a kernel computes, unless asked ahead. In the caches, taking the statistics of rows
// fetches the lines of y that they will be written to, and writing rows fetches the rows of x after them.
// Where y is streamed past the caches, each of the two fetches half of the rows after them, so that memory is
// read all the time: a share of its own for each phase, since writing alone leaves it idle in the other.
// layer_norm on Ice Lake, 2 cores, where a copy of the same arrays takes 113 us and 16.6 ms: 512 x 768 158 us
// without, 130 us with; 16384 x 4096 23 ms without, 22 ms with all of it fetched by the writing, 18.5 ms with
// a half by each.
template <class T>
FASTNORM_INLINE void look_ahead(const T* ahead, std::int64_t j, bool streaming) {
    if (streaming) {
        prefetch_read(ahead + j / 2);
    } else {
        prefetch_write(ahead + j);
    }
}

// y = affine(xhat) of R rows whose statistics are known, together so that weight and bias are loaded once.
// Centred: layer_norm; else rms_norm, whose rows have no mean. Streams whole lines where the rows begin on
// one. Meanwhile fetches the rows `ahead`, which are laid out like y, or half of each where y is streamed
// (see look_ahead).
template <bool Centred, int R, class X, class T, class C>
void apply_rows(
    const NormForward& task, const X* const* x, T* const* y, const T* const* ahead, const Centre<C>* centre
) {
    using V = Vec<C, row_lanes>;
    const Parameters<compute_t<T>> parameters(task.weight, task.bias);
    const std::int64_t cols = task.shape.cols;
    const bool streaming = task.stream && sizeof(T) == sizeof(C);
    const int halving = task.stream ? 1 : 0;
    CentreLanes<V> lanes[R];
    const X* sources[R];
    T* targets[R];
    const T* fetched[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) {
        lanes[r] = CentreLanes<V>::of(centre[r]);
        sources[r] = x[r], targets[r] = y[r], fetched[r] = ahead[r];
    }
    const std::int64_t head = streaming && R == 1 ? columns_to_alignment(targets[0], cols) : 0;
    for_columns_after<row_lanes>(head, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V weight = parameters.template weight<V>(j, step), bias = parameters.template bias<V>(j, step);
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            prefetch_read(fetched[r] + ((j + cols * halving) >> halving));
            const V xhat = normalised<V, Centred>(sources[r] + j, step, lanes[r]);
            write_columns(targets[r] + j, mul_add(xhat, weight, bias), step, streaming);
        }
    });
}

// Rows are what they are stored as. (Rows that are sums may be known better: see norm_of_sum.h.)
struct AsStored {
    static constexpr bool refine(int, double, double) { return false; }
};

// The norm of rows that lie in memory as X: their statistics, then y, together, one by one, or one by one in
// double (elements of float and half types whose statistics leave float's comfortable range). Norm is
// LayerNorm or RmsNorm:
//   Norm::centred
//   Norm::statistics<R>(task, x, ahead, mean, rstd)   of R rows of float or half elements
//   Norm::centre(task, x, mean, rstd)                 of a float64 row
template <class Norm, class X, class T>
class RowNorm {
public:
    using C = compute_t<T>;

    FASTNORM_INLINE explicit RowNorm(const NormForward& task) : task_(task) {}

    // `count` rows, one or forward_rows_together, of which the first is row `row` of the task. The rows
    // `ahead` are fetched meanwhile. Where better.refine(r, mean, rstd) is true, it has written row r itself.
    template <class Better = AsStored>
    FASTNORM_INLINE void write(
        std::int64_t row, int count, const X* const* x, T* const* y, const T* const* ahead,
        const Better& better = {}
    ) const {
        double mean[forward_rows_together] = {}, rstd[forward_rows_together];
        if constexpr (sizeof(C) == 8) {
            for (int r = 0; r < count; ++r) {
                const Centre<double> centre = Norm::centre(task_, x[r], mean[r], rstd[r]);
                apply_rows<Norm::centred, 1>(task_, x + r, y + r, ahead + r, &centre);
            }
        } else {
            const T* fetched[forward_rows_together];
            for (int r = 0; r < count; ++r) fetched[r] = task_.stream ? ahead[r] : y[r];
            if (count > 1) {
                Norm::template statistics<forward_rows_together>(task_, x, fetched, mean, rstd);
            } else {
                Norm::template statistics<1>(task_, x, fetched, mean, rstd);
            }
            apply(count, x, y, ahead, mean, rstd, better);
        }
        for (int r = 0; r < count; ++r) {
            if (task_.mean) static_cast<C*>(task_.mean)[row + r] = C(mean[r]);
            if (task_.rstd) static_cast<C*>(task_.rstd)[row + r] = C(rstd[r]);
        }
    }

private:
    template <class Better>
    FASTNORM_INLINE void apply(
        int count, const X* const* x, T* const* y, const T* const* ahead, const double* mean,
        const double* rstd, const Better& better
    ) const {
        Centre<C> centre[forward_rows_together];
        bool together = count == forward_rows_together && count > 1;
        bool written[forward_rows_together];
        for (int r = 0; r < count; ++r) {
            written[r] = better.refine(r, mean[r], rstd[r]);
            together = together && !written[r];
            together = together && fits_float(mean[r], rstd[r]) &&
                       !(task_.stream && columns_to_alignment(y[r], row_lanes));
            centre[r] = centre_of<C>(mean[r], rstd[r]);
        }
        if (together) return apply_rows<Norm::centred, forward_rows_together>(task_, x, y, ahead, centre);
        for (int r = 0; r < count; ++r) {
            if (written[r]) continue;
            if (fits_float(mean[r], rstd[r])) {
                apply_rows<Norm::centred, 1>(task_, x + r, y + r, ahead + r, centre + r);
            } else {
                const Centre<double> exact = centre_of<double>(mean[r], rstd[r]);
                apply_rows<Norm::centred, 1>(task_, x + r, y + r, ahead + r, &exact);
            }
        }
    }

    const NormForward& task_;
};

// How many rows of a tile of `count` to take next, from row i on.
FASTNORM_INLINE int rows_to_take(int i, int count) {
    return i + forward_rows_together <= count ? forward_rows_together : 1;
}

// The forward of a norm over rows [begin, end).
template <class Norm, class T>
FASTNORM_INLINE void norm_forward(
    const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    const RowNorm<Norm, T, T> norm(task);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        x.fetch(first, count);
        y.select(first);
        int together;
        for (int i = 0; i < count; i += together) {
            together = rows_to_take(i, count);
            const T* sources[forward_rows_together];
            T* targets[forward_rows_together];
            const T* ahead[forward_rows_together];
            for (int r = 0; r < together; ++r) {
                sources[r] = x.row(i + r), targets[r] = y.row(i + r);
                ahead[r] = sources[r] + together * task.shape.cols;
            }
            norm.write(first + i, together, sources, targets, ahead);
        }
        y.write_back(first, count);
    }
}

FASTNORM_TARGET_END
