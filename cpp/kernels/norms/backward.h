// The backward that layer_norm and rms_norm share. With h = dy * weight, xhat = fma(x - mean, rstd, shift):
//   dx = rstd * (h - mean(h) - xhat * sum(h * xhat) / counted)      the mean(h) term for layer_norm only,
//   dweight = sum over rows of dy * xhat,  dbias = sum over rows of dy,
// and for rms_norm over the first `counted` columns the xhat term for those columns only.
//
// A tile is tile_rows rows of each array, in place or packed (RowTile), with the running sums of dweight and
// dbias. Rows of it are taken one by one or backward_rows_together at a time, in two passes: sums over the
// columns (gradient_sums.h), then dx; the row is in the first-level cache by then, and x and dy are read from
// memory once. Given statistics are rounded; what the mean lacks follows from the first pass. Sums over rows:
// parameter_sums.h.
#pragma once

#include "kernels/loops/row_tile.h"
#include "kernels/norms/gradient_sums.h"
#include "kernels/norms/parameter_sums.h"

FASTNORM_TARGET_BEGIN

constexpr int backward_rows_together = native<float> >= 16 ? 4 : 1;

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
    std::int64_t end, bool streaming
) {
    using S = compute_t<typename Tile::Element>;
    using V = Vec<C, row_lanes>;
    using P = Vec<S, row_lanes>;
    const std::int64_t next = R * tile.task.shape.cols;
    const Parameters<S> parameters(tile.task.weight, nullptr);
    S* dweight = tile.sums.dweight;
    S* dbias = tile.sums.dbias;
    for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V weight = parameters.template weight<V>(j, step);
        P dweight_sum = load_columns<P>(dweight + j, step), dbias_sum = load_columns<P>(dbias + j, step);
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            const Gradient<C>& g = gradient[r];
            prefetch_read(dy[r] + next + j);
            prefetch_read(results.ahead[r] + next + j);
            const V dy_r = load_columns<V>(dy[r] + j, step);
            const V xhat = normalised<V, Centred>(x[r] + j, step, CentreLanes<V>::of(g.centre));
            const V along = Centred ? mul_add(xhat, broadcast<V>(g.slope), broadcast<V>(g.offset))
                                    : xhat * broadcast<V>(g.slope);
            results.write(r, j, mul_add(dy_r * weight, broadcast<V>(g.rstd), along), step, streaming);
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
          sums(backward.shape.cols, scratch) {}

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

// R of the rows taken from a tile, from the k-th on, in compute type C.
template <class C, bool Centred, int R, class Tile>
void backward_rows(const Tile& tile, int k, const double* mean, const double* rstd) {
    using T = typename Tile::Element;
    using S = compute_t<T>;
    const std::int64_t cols = tile.task.shape.cols;
    const std::int64_t counted = Centred ? cols : tile.task.counted;
    const T* dy[R];
    const typename Tile::Value* x[R];
    T* targets[R];
    Centre<C> centre[R];
    const auto results = tile.template results<R>(k);
    bool streaming = tile.task.stream && sizeof(T) == sizeof(C);
    for (int r = 0; r < R; ++r) {
        dy[r] = tile.dy.row(tile.taken + k + r), x[r] = tile.value(k + r);
        streaming = streaming && tile.may_stream(k + r);
        C scale = 1;
        if (sizeof(S) == 8 && !in_range(rstd[r], 0x1p-400, 0x1p400)) scale = C(power_of_two_near(rstd[r]));
        centre[r] = {C(mean[r]) * scale, C(rstd[r]) / scale, 0, scale};
    }
    // Rows that are streamed are not wanted in the caches.
    for (int r = 0; r < R; ++r) targets[r] = streaming ? const_cast<T*>(dy[r]) : results.dx[r];
    RowSums sums[R];
    backward_sums<Centred, R>(dy, x, targets, centre, Parameters<S>(tile.task.weight, nullptr), cols, sums);
    Gradient<C> gradient[R];
    const double n = double(counted);
    for (int r = 0; r < R; ++r) {
        const double scaled_rstd = double(centre[r].rstd), rest = sums[r].x / n;
        const double h_xhat = scaled_rstd * (sums[r].h_x - rest * sums[r].h);
        gradient[r].centre = centre[r];
        gradient[r].centre.shift = C(-rest * scaled_rstd);
        gradient[r].rstd = C(rstd[r]);
        gradient[r].slope = C(-rstd[r] * h_xhat / n);
        gradient[r].offset = C(-rstd[r] * sums[r].h / n);
    }
    backward_columns<Centred, R>(tile, dy, x, results, gradient, 0, counted, streaming);
    if (!Centred && counted < cols) {
        for (int r = 0; r < R; ++r) gradient[r].slope = 0;
        backward_columns<Centred, R>(tile, dy, x, results, gradient, counted, cols, false);
    }
}

// The rows of a tile's task that lie in blocks [begin, end). Norm is LayerNorm or RmsNorm:
//   Norm::centred
//   Norm::returned(task, x, mean, rstd)   the statistics of a row as the forward returns them
template <class Norm, class Tile>
FASTNORM_INLINE void backward_blocks(Tile& tile, std::int64_t begin, std::int64_t end) {
    using S = compute_t<typename Tile::Element>;
    const NormBackward& task = tile.task;
    const S* means = static_cast<const S*>(task.mean);
    const S* rstds = static_cast<const S*>(task.rstd);
    const bool accumulate = task.dweight_partials != nullptr;
    // Sums that nobody wants are taken all the same, so that there is one function to compile.
    if (!accumulate) tile.sums.clear();
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t last = smaller((block + 1) * task.block_rows, task.shape.rows);
        if (accumulate) tile.sums.start(task, block);
        for (std::int64_t first = block * task.block_rows; first < last; first += tile_rows) {
            const int count = int(smaller(tile_rows, last - first));
            tile.fetch(first, count);
            if (accumulate) tile.sums.expect(count);
            int together;
            for (int i = 0; i < count; i += together) {
                together = i + backward_rows_together <= count ? backward_rows_together : 1;
                tile.take(i, together);
                double mean[backward_rows_together] = {}, rstd[backward_rows_together];
                bool far[backward_rows_together];
                bool ordinary = together > 1;
                for (int k = 0; k < together; ++k) {
                    if (rstds) {
                        if (means) mean[k] = means[first + i + k];
                        rstd[k] = rstds[first + i + k];
                    } else {
                        Norm::returned(task, tile.value(k), mean[k], rstd[k]);
                    }
                    far[k] = Norm::centred && tile.is_far(mean[k], rstd[k]);
                    ordinary = ordinary && !far[k] && (sizeof(S) == 8 || fits_float(mean[k], rstd[k]));
                }
                if (ordinary) {
                    backward_rows<S, Norm::centred, backward_rows_together>(tile, 0, mean, rstd);
                } else {
                    for (int k = 0; k < together; ++k) {
                        if (far[k]) {
                            tile.template far_row<Norm>(k);
                        } else if (sizeof(S) == 8 || fits_float(mean[k], rstd[k])) {
                            backward_rows<S, Norm::centred, 1>(tile, k, mean + k, rstd + k);
                        } else {
                            backward_rows<double, Norm::centred, 1>(tile, k, mean + k, rstd + k);
                        }
                    }
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
    backward_blocks<Norm>(tile, begin, end);
}

FASTNORM_TARGET_END
