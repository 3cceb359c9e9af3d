// rms_norm over the columns of each row: y = x * rstd * weight + bias, rstd = 1 / sqrt(mean(x^2) + eps), the
// mean over the first `counted` columns (all of them, or pRMSNorm's share). Backward: see
// backward.h.
//
// Accuracy, float32. Squares of floats are exact in double and summed there, so neither FLT_MAX nor
// subnormals need a second path for the sum; three roundings remain in y. Rows whose rstd leaves float's
// comfortable range are applied in double; float64 rows whose squares overflow or vanish are scaled by a
// power of two. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#pragma once

#include <cmath>

#include "kernels/norms/backward.h"
#include "kernels/norms/forward.h"

FASTNORM_TARGET_BEGIN

// Mean square of the first `counted` columns of R rows, times scale^2. Meanwhile looks ahead.
template <int R, class T, class Ahead>
void mean_squares(
    const T* const* x, const Ahead* const* ahead, std::int64_t counted, bool streaming, double scale,
    double* result
) {
    using V = Vec<double, row_lanes>;
    V squares[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) squares[r] = broadcast<V>(0);
    for_columns<row_lanes>(0, counted, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            look_ahead(ahead[r], j, streaming);
            V value = load_columns<V>(x[r] + j, step);
            if constexpr (sizeof(compute_t<T>) == 8) value = value * broadcast<V>(scale);
            squares[r] = mul_add(value, value, squares[r]);
        }
    });
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) result[r] = sum(squares[r]) / double(counted);
}

// xhat = (x * scale) * (rstd / scale); scale is 1 but for float64 rows near the ends of its range.
FASTNORM_OUTLINE double scaled_rms_rstd(const double* x, std::int64_t counted, double eps, double& scale) {
    double mean_square;
    scale = 1;
    mean_squares<1>(&x, &x, counted, false, scale, &mean_square);
    if (!in_range(mean_square + eps, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, counted, eps);
        mean_squares<1>(&x, &x, counted, false, scale, &mean_square);
    }
    return 1 / std::sqrt(mean_square + eps * scale * scale);
}

// What forward.h and backward.h need to know about rms_norm.
struct RmsNorm {
    static constexpr bool centred = false;

    template <int R, class X, class Ahead>
    static FASTNORM_INLINE void statistics(
        const NormForward& task, const X* const* x, const Ahead* const* ahead, double*, double* rstd
    ) {
        mean_squares<R>(x, ahead, task.counted, task.stream, 1, rstd);
        for (int r = 0; r < R; ++r) rstd[r] = 1 / std::sqrt(rstd[r] + task.eps);
    }
    static FASTNORM_INLINE Centre<double> centre(
        const NormForward& task, const double* x, double&, double& rstd
    ) {
        double scale;
        const double scaled_rstd = scaled_rms_rstd(x, task.counted, task.eps, scale);
        rstd = scaled_rstd * scale;
        return {0, scaled_rstd, 0, scale};
    }

    // The statistic the forward would return for a row, rounded as it returns it. Meanwhile fetches the lines
    // of the row `target`.
    template <class X, class Target>
    static FASTNORM_INLINE void returned(
        const NormBackward& task, const X* x, const Target* target, double&, double& rstd
    ) {
        if constexpr (sizeof(compute_t<X>) == 8) {
            double scale;
            rstd = scaled_rms_rstd(x, task.counted, task.eps, scale) * scale;
        } else {
            mean_squares<1>(&x, &target, task.counted, false, 1, &rstd);
            rstd = float(1 / std::sqrt(rstd + task.eps));
        }
    }
};

template <class T>
void rms_norm_forward(const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_forward<RmsNorm, T>(task, begin, end, scratch);
}

template <class T>
void rms_norm_backward(const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_backward<RmsNorm, T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
