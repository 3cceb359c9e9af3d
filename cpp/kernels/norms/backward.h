// The backward that layer_norm and rms_norm share. With h = dy * weight, xhat = fma(x - mean, rstd, shift):
//   dx = rstd * (h - mean(h) - xhat * sum(h * xhat) / counted)      the mean(h) term for layer_norm only,
//   dweight = sum over rows of dy * xhat,  dbias = sum over rows of dy,
// and for rms_norm over the first `counted` columns the xhat term for those columns only. normalize has no
// `/ counted`, and no xhat term where rstd is 1 / eps.
//
// A tile is tile_rows rows of each array, in place or packed (RowTile), with the running sums of dweight and
// dbias. Rows of it are taken one by one or backward_rows_together at a time, in two passes: sums over the
// columns (gradient_sums.h), then dx; the row is in the first-level cache by then, and x and dy are read from
// memory once. Statistics that are not given are those that the forward would return, so the gradients have
// the same bits; they are rounded, and what the mean lacks follows from the first pass. Sums over rows:
// parameter_sums.h.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/loops/moments.h"
#include "kernels/loops/row_tile.h"
#include "kernels/norms/few_backward.h"
#include "kernels/norms/gradient_sums.h"
#include "kernels/norms/parameter_sums.h"

FASTNORM_TARGET_BEGIN

// Rows taken together, so that the sums of the parameters and the weight are loaded once for them: as many as
// the first-level cache holds with their results.
constexpr int backward_rows_together = native<float> >= 16 ? 2 : 1;

// The second pass: dx of R rows over columns [begin, end), and their share of the parameter gradients. The
// rows after these, `next` elements on from dy and from `ahead`, are fetched meanwhile. dx = fma(h, rstd,
// fma(xhat, slope, offset)).
template <class C>
struct Gradient {
    Centre<C> centre;
    C rstd, slope, offset;
};

template <bool Centred, int R, class Tile, class C>
void backward_columns(
    const Tile& tile, const typename Tile::Element* const* dy, const typename Tile::Value* const* x,
    const typename Tile::template Results<R>& results, const Gradient<C>* gradient, std::int64_t begin,
    std::int64_t end, bool counted, bool streaming
) {
    using S = compute_t<typename Tile::Element>;
    using V = Vec<C, row_lanes>;
    using P = Vec<S, row_lanes>;
    // In locals, which the compiler can tell from what the loop stores.
    const std::int64_t next = R * tile.task.shape.cols;
    const S* const weights = tile.sums.weight;
    S* const dweight = tile.sums.dweight;
    S* const dbias = tile.sums.dbias;
    const bool fetches = tile.task.stream;
    const auto written = results;
    const typename Tile::Element* dy_rows[R];
    const typename Tile::Value* x_rows[R];
    CentreLanes<V> centre[R];
    V rstd[R], slope[R], offset[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) {
        dy_rows[r] = dy[r], x_rows[r] = x[r];
        centre[r] = CentreLanes<V>::of(gradient[r].centre);
        rstd[r] = broadcast<V>(gradient[r].rstd);
        slope[r] = broadcast<V>(gradient[r].slope), offset[r] = broadcast<V>(gradient[r].offset);
    }
    for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V weight = load_columns<V>(weights + j, step);
        P dweight_sum = load_columns<P>(dweight + j, step), dbias_sum = load_columns<P>(dbias + j, step);
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            if (fetches) {
                prefetch_read(dy_rows[r] + next + j);
                prefetch_read(written.ahead[r] + next + j);
            }
            const V dy_r = load_columns<V>(dy_rows[r] + j, step);
            const V xhat = normalised<V, Centred>(x_rows[r] + j, step, centre[r]);
            V along = Centred ? mul_add(xhat, slope[r], offset[r]) : xhat * slope[r];
            if (!Centred && !counted) along = broadcast<V>(0);
            written.write(r, j, mul_add(dy_r * weight, rstd[r], along), step, streaming);
            if constexpr (sizeof(C) == sizeof(S)) {
                dweight_sum = mul_add(dy_r, xhat, dweight_sum);
                dbias_sum = dbias_sum + dy_r;
            } else {
                dweight_sum = dweight_sum + to_float(dy_r * xhat);
                dbias_sum = dbias_sum + to_float(dy_r);
            }
        }
        store_columns(dweight + j, dweight_sum, step);
        store_columns(dbias + j, dbias_sum, step);
    });
}

// A tile of the arrays of a backward and the running parameter gradients of its block.
template <class T>
struct BackwardTile {
    using Element = T;
    using Value = T;  // of the rows that were normalised

    const NormBackward& task;
    int taken = 0;  // the row of the tile that is value(0)
    RowTile<T> dy, x, dx;
    ParameterSums<compute_t<T>> sums;

    FASTNORM_INLINE BackwardTile(const NormBackward& backward, char* scratch)
        : task(backward),
          dy(backward.shape, backward.dy, scratch),
          x(backward.shape, backward.x, scratch),
          dx(backward.shape, backward.dx, scratch),
          sums(backward.weight, backward.shape.cols, scratch) {}

    FASTNORM_INLINE void fetch(std::int64_t first, int count) {
        dy.fetch(first, count);
        x.fetch(first, count);
        dx.select(first);
    }
    FASTNORM_INLINE void write_back(std::int64_t first, int count) { dx.write_back(first, count); }

    // Makes ready `count` rows from row i on, and row k of them.
    FASTNORM_INLINE void take(int i, int) { taken = i; }
    FASTNORM_INLINE const T* value(int k) const { return x.row(taken + k); }

    // Where the results of R rows go, and the rows after which others are worth fetching.
    template <int R>
    struct Results {
        T* dx[R];
        const T* ahead[R];

        template <class V, class Step>
        FASTNORM_INLINE void write(int r, std::int64_t j, V gradient, Step step, bool streaming) const {
            write_columns(dx[r] + j, gradient, step, streaming);
        }
    };
    template <int R>
    FASTNORM_INLINE Results<R> results(int k) const {
        Results<R> rows;
        for (int r = 0; r < R; ++r) rows.dx[r] = dx.row(taken + k + r), rows.ahead[r] = x.row(taken + k + r);
        return rows;
    }
    FASTNORM_INLINE bool may_stream(int k) const {
        return columns_to_alignment(dx.row(taken + k), row_lanes) == 0;
    }

    // Rows of which more is known than what they are stored as, and their backward: none here (see
    // residual_norms/backward.h).
    static constexpr bool is_far(double, double) { return false; }
    template <class Norm>
    static void far_row(int) {}
};

// dx of R of the rows taken from a tile, from the k-th on, and what they add to the sums of the parameters.
template <bool Centred, int R, class Tile, class C>
FASTNORM_INLINE void write_gradients(
    const Tile& tile, int k, const typename Tile::Element* const* dy, const typename Tile::Value* const* x,
    const Gradient<C>* gradient
) {
    const std::int64_t cols = tile.task.shape.cols, counted = Centred ? cols : tile.task.counted;
    const auto results = tile.template results<R>(k);
    bool streaming = tile.task.stream && sizeof(typename Tile::Element) == sizeof(C);
    for (int r = 0; r < R; ++r) streaming = streaming && tile.may_stream(k + r);
    backward_columns<Centred, R>(tile, dy, x, results, gradient, 0, counted, true, streaming);
    if (!Centred && counted < cols) {
        backward_columns<Centred, R>(tile, dy, x, results, gradient, counted, cols, false, false);
    }
}

// Where rstd does not depend on the row: in place of the n that sums over a row are divided by.
constexpr double constant_rstd = std::numeric_limits<double>::infinity();

// R rows in double; sums are divided by n.
template <bool Centred, int R, class Tile>
FASTNORM_OUTLINE void backward_in_double(
    const Tile& tile, int k, const double* mean, const double* rstd, const double* n
) {
    using S = compute_t<typename Tile::Element>;
    const std::int64_t cols = tile.task.shape.cols;
    const typename Tile::Element* dy[R];
    const typename Tile::Value* x[R];
    Centre<double> centre[R];
    for (int r = 0; r < R; ++r) {
        dy[r] = tile.dy.row(tile.taken + k + r), x[r] = tile.value(k + r);
        double scale = 1;
        if (sizeof(S) == 8 && !in_range(rstd[r], 0x1p-400, 0x1p400)) scale = power_of_two_near(rstd[r]);
        centre[r] = {mean[r] * scale, rstd[r] / scale, 0, scale};
    }
    RowSums sums[R];
    backward_sums<Centred, R>(dy, x, centre, tile.sums.weight, cols, sums);
    Gradient<double> gradient[R];
    for (int r = 0; r < R; ++r) {
        const double scaled_rstd = centre[r].rstd, rest = sums[r].x / n[r];
        double h_xhat = scaled_rstd * (sums[r].h_x - rest * sums[r].h);
        if (!Centred && n[r] == constant_rstd) h_xhat = 0;
        gradient[r] = {centre[r], rstd[r], -rstd[r] * h_xhat / n[r], -rstd[r] * sums[r].h / n[r]};
        gradient[r].centre.shift = -rest * scaled_rstd;
    }
    write_gradients<Centred, R>(tile, k, dy, x, gradient);
}

// R rows of float or half elements in float. False, and nothing written, where one of them needs double.
template <bool Centred, int R, class Tile>
FASTNORM_OUTLINE bool backward_in_float(
    const Tile& tile, int k, const double* mean, const double* rstd, const double* n
) {
    using V = Vec<float, row_lanes>;
    const std::int64_t cols = tile.task.shape.cols;
    const typename Tile::Element* dy[R];
    const typename Tile::Value* x[R];
    for (int r = 0; r < R; ++r) {
        if (!fits_float(mean[r], rstd[r]) || tile.is_far(mean[r], rstd[r])) return false;
        dy[r] = tile.dy.row(tile.taken + k + r), x[r] = tile.value(k + r);
    }
    const float* const weight = tile.sums.weight;
    GradientSums<Centred> sums[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) sums[r].begin(float(mean[r]));
    for (std::int64_t begin = 0; begin < cols; begin += products_together) {
        const std::int64_t end = smaller(begin + products_together, cols);
        for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const V w = load_columns<V>(weight + j, step);
            FASTNORM_UNROLL
            for (int r = 0; r < R; ++r) {
                const V h = load_columns<V>(dy[r] + j, step) * w;
                sums[r].add(h, load_columns<V>(x[r] + j, step, sums[r].fill()));
            }
        });
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) sums[r].fold();
    }
    Gradient<float> gradient[R];
    for (int r = 0; r < R; ++r) {
        const double one_in_n = 1 / n[r];
        const double rest = sums[r].d() * one_in_n, h = sums[r].h(), factor = -rstd[r] * one_in_n;
        // A mean that is given may be anything.
        if (!(std::fabs(rest) * rstd[r] <= 1)) return false;
        double h_xhat = rstd[r] * (sums[r].h_d() - rest * h);
        if (!Centred && n[r] == constant_rstd) h_xhat = 0;
        const float centre = sums[r].fill();
        gradient[r] = {
            {centre, float(rstd[r]), float(-rest * rstd[r]), 1},
            float(rstd[r]),
            float(factor * h_xhat),
            float(factor * h)
        };
    }
    write_gradients<Centred, R>(tile, k, dy, x, gradient);
    return true;
}

// R of the rows taken from a tile, from the k-th on, whose statistics are known.
template <class Norm, int R, class Tile>
FASTNORM_INLINE void backward_rows(
    Tile& tile, int k, const double* mean, const double* rstd, const double* n
) {
    if constexpr (sizeof(compute_t<typename Tile::Element>) == 8) {
        backward_in_double<Norm::centred, R>(tile, k, mean, rstd, n);
    } else if (!backward_in_float<Norm::centred, R>(tile, k, mean, rstd, n)) {
        for (int r = 0; r < R; ++r) {
            if (R > 1 && backward_in_float<Norm::centred, 1>(tile, k + r, mean + r, rstd + r, n + r))
                continue;
            if (Norm::centred && tile.is_far(mean[r], rstd[r])) {
                tile.template far_row<Norm>(k + r);
            } else {
                backward_in_double<Norm::centred, 1>(tile, k + r, mean + r, rstd + r, n + r);
            }
        }
    }
}

// The rows of a tile's task that lie in blocks [begin, end). Norm is LayerNorm or RmsNorm:
//   Norm::centred
//   Norm::returned(task, x, mean, rstd, n)   the statistics of a row as the forward returns them, and n where
//                                            that is not the number of columns
// In place of FewBackward where there is none.
template <class S>
struct RowsOnly {
    static constexpr bool write(const ParameterSums<S>&, std::int64_t, int, std::int64_t) { return false; }
};

// `few` takes tiles of rows of few columns, where it is given.
template <class Norm, class Tile, class Few>
FASTNORM_INLINE void backward_blocks(Tile& tile, Few* few, std::int64_t begin, std::int64_t end) {
    using S = compute_t<typename Tile::Element>;
    const NormBackward& task = tile.task;
    const S* const means = static_cast<const S*>(task.mean);
    const S* const rstds = static_cast<const S*>(task.rstd);
    const bool accumulate = task.dweight_partials != nullptr;
    // Sums that nobody wants are taken all the same, so that there is one function to compile.
    if (!accumulate) tile.sums.clear();
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t last = smaller((block + 1) * task.block_rows, task.shape.rows);
        if (accumulate) tile.sums.start(task, block);
        for (std::int64_t first = block * task.block_rows; first < last; first += tile_rows) {
            const int count = int(smaller(tile_rows, last - first));
            if (accumulate) tile.sums.expect(count);
            if (few && few->write(tile.sums, first, count, last)) continue;
            tile.fetch(first, count);
            int together;
            for (int i = 0; i < count; i += together) {
                together = i + backward_rows_together <= count ? backward_rows_together : 1;
                tile.take(i, together);
                double mean[backward_rows_together] = {}, rstd[backward_rows_together],
                       n[backward_rows_together];
                for (int k = 0; k < together; ++k) {
                    n[k] = double(Norm::centred ? task.shape.cols : task.counted);
                    if (rstds) {
                        if (means) mean[k] = means[first + i + k];
                        rstd[k] = rstds[first + i + k];
                    } else {
                        Norm::returned(task, tile.value(k), mean[k], rstd[k], n[k]);
                    }
                }
                if (together > 1) {
                    backward_rows<Norm, backward_rows_together>(tile, 0, mean, rstd, n);
                } else {
                    backward_rows<Norm, 1>(tile, 0, mean, rstd, n);
                }
            }
            tile.write_back(first, count);
        }
        if (accumulate) tile.sums.finish();
    }
}

template <class Norm, class T>
FASTNORM_INLINE void norm_backward(
    const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    BackwardTile<T> tile(task, static_cast<char*>(scratch));
    if constexpr (takes_few<T>) {
        FewBackward few(task, element_of<T>, Norm::centred);
        backward_blocks<Norm>(tile, few.takes() ? &few : nullptr, begin, end);
    } else {
        RowsOnly<compute_t<T>>* const few = nullptr;
        backward_blocks<Norm>(tile, few, begin, end);
    }
}

FASTNORM_TARGET_END
