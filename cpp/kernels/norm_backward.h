// The backward that layer_norm and rms_norm share. With h = dy * weight, xhat = fma(x - mean, rstd, shift):
//   dx = rstd * (h - mean(h) - xhat * sum(h * xhat) / counted)      the mean(h) term for layer_norm only,
//   dweight = sum over rows of dy * xhat,  dbias = sum over rows of dy,
// and for rms_norm over the first `counted` columns the xhat term for those columns only.
//
// Two passes over a row that is in the first-level cache by then; x and dy are read from memory once. Sums over columns
// run on row_lanes lanes of the compute type, folded to double every fold_columns columns. Given statistics are
// rounded, so the first pass also sums x - mean, whose average is what the rounded mean lacks: with |mean| a million
// deviations a float mean alone would be off by 3 % of a deviation. Sums over rows run in the compute type for
// fold_rows rows, then in double (see parameter_gradients.h).
#pragma once

#include "kernels/norm_rows.h"
#include "kernels/parameter_gradients.h"

FASTNORM_TARGET_BEGIN

// 32 additions a lane between folds: at most 32 * 2^-24 relative to the sum of magnitudes, typically 3 * 2^-24.
constexpr std::int64_t fold_columns = 32 * row_lanes;

struct RowSums {
    double h, h_x, x;  // sums of h, h * (x - mean), x - mean
};

template <class T, class C, bool HasWeight, bool Centred, int R>
void backward_sums(
    const T* const* dy, const T* const* x, T* const* targets, const Centre<C>* centre, const compute_t<T>* weight,
    std::int64_t cols, RowSums* sums
) {
    using V = Vec<C, row_lanes>;
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = {0, 0, 0};
    for (std::int64_t start = 0; start < cols; start += fold_columns) {
        const std::int64_t stop = smaller(start + fold_columns, cols);
        V h_sum[R], h_x_sum[R], x_sum[R];
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) h_sum[r] = h_x_sum[r] = x_sum[r] = broadcast<V>(0);
        for_columns<row_lanes>(start, stop, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            V w;
            if constexpr (HasWeight) w = load_columns<V>(weight + j, step);
            FASTNORM_UNROLL
            for (int r = 0; r < R; ++r) {
                prefetch_write(targets[r] + j);
                V h = load_columns<V>(dy[r] + j, step);
                if constexpr (HasWeight) h = h * w;
                // Lanes past the end hold x = mean / scale, so that x - mean is 0 there.
                V d = load_columns<V>(x[r] + j, step, element_t<V>(centre[r].mean / centre[r].scale));
                if constexpr (sizeof(compute_t<T>) == 8) d = d * broadcast<V>(centre[r].scale);
                if constexpr (Centred) d = d - broadcast<V>(centre[r].mean);
                h_x_sum[r] = mul_add(h, d, h_x_sum[r]);
                if constexpr (Centred) {
                    h_sum[r] = h_sum[r] + h;
                    x_sum[r] = x_sum[r] + d;
                }
            }
        });
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            sums[r].h_x += sum_in_double(h_x_sum[r]);
            if constexpr (Centred) {
                sums[r].h += sum_in_double(h_sum[r]);
                sums[r].x += sum_in_double(x_sum[r]);
            }
        }
    }
}

// The second pass: dx of R rows over columns [begin, end), and their share of the parameter gradients. The elements
// `next` after those of this tile are fetched meanwhile. dx = fma(h, rstd, fma(xhat, slope, offset)).
template <class C>
struct Gradient {
    Centre<C> centre;
    C rstd, slope, offset;
};

template <class T, class C, bool HasWeight, bool Accumulate, bool Centred, int R>
void backward_columns(
    const T* const* dy, const T* const* x, T* const* dx, const Gradient<C>* gradient, const compute_t<T>* weight,
    compute_t<T>* dweight, compute_t<T>* dbias, std::int64_t begin, std::int64_t end, std::int64_t next, bool streaming
) {
    using V = Vec<C, row_lanes>;
    using P = Vec<compute_t<T>, row_lanes>;
    for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V w;
        if constexpr (HasWeight) w = load_columns<V>(weight + j, step);
        P dweight_sum, dbias_sum;
        if constexpr (Accumulate) {
            dweight_sum = load_columns<P>(dweight + j, step);
            dbias_sum = load_columns<P>(dbias + j, step);
        }
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            const Gradient<C>& g = gradient[r];
            prefetch_read(dy[r] + next + j);
            prefetch_read(x[r] + next + j);
            const V dy_r = load_columns<V>(dy[r] + j, step);
            const V xhat = normalised<V, Centred>(x[r] + j, step, CentreLanes<V>::of(g.centre));
            V h = dy_r;
            if constexpr (HasWeight) h = h * w;
            const V along =
                Centred ? mul_add(xhat, broadcast<V>(g.slope), broadcast<V>(g.offset)) : xhat * broadcast<V>(g.slope);
            const V result = mul_add(h, broadcast<V>(g.rstd), along);
            if constexpr (sizeof(T) == sizeof(C) && !decltype(step)::partial) {
                if (streaming) {
                    stream(dx[r] + j, result);
                } else {
                    store(dx[r] + j, result);
                }
            } else {
                store_columns(dx[r] + j, result, step);
            }
            if constexpr (Accumulate) {
                if constexpr (sizeof(C) == sizeof(compute_t<T>)) {
                    dweight_sum = mul_add(dy_r, xhat, dweight_sum);
                    dbias_sum = dbias_sum + dy_r;
                } else {
                    dweight_sum = dweight_sum + to_float(dy_r * xhat);
                    dbias_sum = dbias_sum + to_float(dy_r);
                }
            }
        }
        if constexpr (Accumulate) {
            store_columns(dweight + j, dweight_sum, step);
            store_columns(dbias + j, dbias_sum, step);
        }
    });
}

// A tile of the arrays of a backward and the running parameter gradients of its block.
template <class T>
struct BackwardTile {
    const NormBackward& task;
    RowTile<T> dy, x, dx;
    ParameterSums<compute_t<T>> sums;

    FASTNORM_INLINE BackwardTile(const NormBackward& backward, char* scratch)
        : task(backward),
          dy(backward.shape, backward.dy, scratch),
          x(backward.shape, backward.x, scratch),
          dx(backward.shape, backward.dx, scratch),
          sums(backward.shape.cols, scratch) {}
};

// R rows of a tile from row i on, in compute type C.
template <class T, class C, bool HasWeight, bool Accumulate, bool Centred, int R>
void backward_rows(const BackwardTile<T>& tile, int i, const double* mean, const double* rstd) {
    using S = compute_t<T>;
    const std::int64_t cols = tile.task.shape.cols;
    const std::int64_t counted = Centred ? cols : tile.task.counted;
    const S* weight = static_cast<const S*>(tile.task.weight);
    const T* dy[R];
    const T* x[R];
    T* dx[R];
    T* targets[R];
    Centre<C> centre[R];
    bool streaming = tile.task.stream && sizeof(T) == sizeof(C);
    for (int r = 0; r < R; ++r) {
        dy[r] = tile.dy.row(i + r), x[r] = tile.x.row(i + r), dx[r] = tile.dx.row(i + r);
        streaming = streaming && columns_to_alignment(dx[r], row_lanes) == 0;
        targets[r] = streaming ? tile.x.row(i + r) : dx[r];
        C scale = 1;
        if (sizeof(S) == 8 && !in_range(rstd[i + r], 0x1p-400, 0x1p400)) scale = C(power_of_two_near(rstd[i + r]));
        centre[r] = {C(mean[i + r]) * scale, C(rstd[i + r]) / scale, 0, scale};
    }
    RowSums sums[R];
    backward_sums<T, C, HasWeight, Centred, R>(dy, x, targets, centre, weight, cols, sums);
    Gradient<C> gradient[R];
    const double n = double(counted);
    for (int r = 0; r < R; ++r) {
        const double scaled_rstd = double(centre[r].rstd), rest = sums[r].x / n;
        const double h_xhat = scaled_rstd * (sums[r].h_x - rest * sums[r].h);
        gradient[r].centre = centre[r];
        gradient[r].centre.shift = C(-rest * scaled_rstd);
        gradient[r].rstd = C(rstd[i + r]);
        gradient[r].slope = C(-rstd[i + r] * h_xhat / n);
        gradient[r].offset = C(-rstd[i + r] * sums[r].h / n);
    }
    backward_columns<T, C, HasWeight, Accumulate, Centred, R>(
        dy, x, dx, gradient, weight, tile.sums.dweight, tile.sums.dbias, 0, counted, R * cols, streaming
    );
    if (!Centred && counted < cols) {
        for (int r = 0; r < R; ++r) gradient[r].slope = 0;
        backward_columns<T, C, HasWeight, Accumulate, Centred, R>(
            dy, x, dx, gradient, weight, tile.sums.dweight, tile.sums.dbias, counted, cols, R * cols, false
        );
    }
}

template <class T>
using BackwardRows = void (*)(const BackwardTile<T>& tile, int i, const double* mean, const double* rstd);

template <class T, class C, bool Centred, int R>
FASTNORM_INLINE BackwardRows<T> choose_backward_rows(bool has_weight, bool accumulate) {
    if (has_weight) {
        return accumulate ? backward_rows<T, C, true, true, Centred, R> : backward_rows<T, C, true, false, Centred, R>;
    }
    return accumulate ? backward_rows<T, C, false, true, Centred, R> : backward_rows<T, C, false, false, Centred, R>;
}

// Centred: layer_norm; else rms_norm. statistics(x, row, mean, rstd) gives those of a row, rounded to the compute type.
template <class T, bool Centred, class Statistics>
FASTNORM_INLINE void norm_backward(
    const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch, Statistics statistics
) {
    using S = compute_t<T>;
    constexpr int together = backward_rows_together;
    const std::int64_t cols = task.shape.cols;
    const bool accumulate = task.dweight_partials != nullptr;
    BackwardTile<T> tile(task, static_cast<char*>(scratch));
    const BackwardRows<T> several = choose_backward_rows<T, S, Centred, together>(task.weight, accumulate);
    const BackwardRows<T> one = choose_backward_rows<T, S, Centred, 1>(task.weight, accumulate);
    const BackwardRows<T> one_in_double = choose_backward_rows<T, double, Centred, 1>(task.weight, accumulate);
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t last = smaller((block + 1) * task.block_rows, task.shape.rows);
        if (accumulate) tile.sums.start(task.dweight_partials + block * cols, task.dbias_partials + block * cols);
        for (std::int64_t first = block * task.block_rows; first < last; first += tile_rows) {
            const int count = int(smaller(tile_rows, last - first));
            tile.dy.fetch(first, count);
            tile.x.fetch(first, count);
            tile.dx.select(first);
            double mean[tile_rows], rstd[tile_rows];
            bool ordinary = true;
            for (int i = 0; i < count; ++i) {
                mean[i] = 0;
                statistics(tile.x.row(i), first + i, mean[i], rstd[i]);
                ordinary = ordinary && fits_float(mean[i], rstd[i]);
            }
            int i = 0;
            if (sizeof(S) == 8 || ordinary) {
                for (; i + together <= count; i += together) several(tile, i, mean, rstd);
            }
            for (; i < count; ++i) {
                (sizeof(S) == 8 || fits_float(mean[i], rstd[i]) ? one : one_in_double)(tile, i, mean, rstd);
            }
            tile.dx.write_back(first, count);
            if (accumulate) tile.sums.rows_done(count);
        }
        if (accumulate) tile.sums.finish();
    }
}

FASTNORM_TARGET_END
