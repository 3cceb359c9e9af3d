// rms_norm over the columns of each row: y = x * rstd * weight + bias, rstd = 1 / sqrt(mean(x^2) + eps), the mean over
// the first `counted` columns (all of them, or pRMSNorm's share). Backward: see norm_backward.h.
//
// Accuracy, float32. Squares of floats are exact in double and summed there, so neither FLT_MAX nor subnormals need a
// second path for the sum; three roundings remain in y. Rows whose rstd leaves float's comfortable range are applied in
// double; float64 rows whose squares overflow or vanish are scaled by a power of two. Source: Zhang and Sennrich, "Root
// Mean Square Layer Normalization", 2019.
#pragma once

#include "kernels/norm_backward.h"
#include "kernels/norm_rows.h"

FASTNORM_TARGET_BEGIN

// Mean square of the first `counted` columns of R rows, times scale^2. Meanwhile looks ahead.
template <class T, int R, bool Streaming>
void mean_squares(const T* const* x, const T* const* ahead, std::int64_t counted, double scale, double* result) {
    using V = Vec<double, row_lanes>;
    V squares[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) squares[r] = broadcast<V>(0);
    for_columns<row_lanes>(0, counted, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            look_ahead<Streaming>(ahead[r], j);
            V value = load_columns<V>(x[r] + j, step);
            if constexpr (sizeof(compute_t<T>) == 8) value = value * broadcast<V>(scale);
            squares[r] = mul_add(value, value, squares[r]);
        }
    });
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) result[r] = sum(squares[r]) / double(counted);
}

// xhat = (x * scale) * (rstd / scale); scale is 1 but for float64 rows near the ends of its range.
inline double scaled_rms_rstd(const double* x, std::int64_t counted, double eps, double& scale) {
    double mean_square;
    scale = 1;
    mean_squares<double, 1, false>(&x, &x, counted, scale, &mean_square);
    if (!in_range(mean_square + eps, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, counted, eps);
        mean_squares<double, 1, false>(&x, &x, counted, scale, &mean_square);
    }
    return 1 / __builtin_sqrt(mean_square + eps * scale * scale);
}

template <class T>
void rms_norm_forward(const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    C* rstds = static_cast<C*>(task.rstd);
    const RowWriter<T, false> writer(task);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        x.fetch(first, count);
        y.select(first);
        for (int i = 0; i < count;) {
            if constexpr (sizeof(C) == 8) {
                double scale;
                const double rstd = scaled_rms_rstd(x.row(i), task.counted, task.eps, scale);
                if (rstds) rstds[first + i] = rstd * scale;
                writer.write(x.row(i), y.row(i), {0, rstd, 0, scale});
                ++i;
            } else {
                constexpr int most = forward_rows_together;
                const T *sources[most], *ahead[most];
                T* targets[most];
                double rstd[most];
                const double mean[most] = {};
                const int together = select_rows(x, y, task.shape.cols, i, count, task.stream, sources, ahead);
                const auto squares = together > 1
                                         ? task.stream ? mean_squares<T, most, true> : mean_squares<T, most, false>
                                     : task.stream ? mean_squares<T, 1, true>
                                                   : mean_squares<T, 1, false>;
                squares(sources, ahead, task.counted, 1, rstd);
                for (int r = 0; r < together; ++r) {
                    rstd[r] = 1 / __builtin_sqrt(rstd[r] + task.eps);
                    if (rstds) rstds[first + i + r] = C(rstd[r]);
                    targets[r] = y.row(i + r);
                }
                writer.write(sources, targets, mean, rstd, together);
                i += together;
            }
        }
        y.write_back(first, count);
    }
}

template <class T>
void rms_norm_backward(const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_backward<T, false>(task, begin, end, scratch, [&](const T* x, std::int64_t row, double&, double& rstd) {
        if (task.rstd) {
            rstd = static_cast<const compute_t<T>*>(task.rstd)[row];
        } else if constexpr (sizeof(compute_t<T>) == 8) {
            double scale;
            rstd = scaled_rms_rstd(x, task.counted, task.eps, scale) * scale;
        } else {
            mean_squares<T, 1, false>(&x, &x, task.counted, 1, &rstd);
            rstd = float(1 / __builtin_sqrt(rstd + task.eps));
        }
    });
}

FASTNORM_TARGET_END
