// The forward that layer_norm and rms_norm share: statistics of a few rows, then y of the same rows, which
// are in the first-level cache by then.
#pragma once

#include "kernels/loops/row_tile.h"
#include "kernels/norms/centring.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// Rows whose statistics are taken together, for independent chains of additions: what the registers hold.
constexpr int forward_rows_together = native<float> >= 16 ? 2 : 1;

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

// Rows are what they are stored as. (Rows that are sums may be known better: see
// residual_norms/forward.h.)
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
