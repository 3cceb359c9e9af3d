// swish with a parameter beta for each element, and its gradients:
//
//   y = x sigmoid(beta x),  dx = dy * (s + z s (1 - s)),  dbeta = sum dy x^2 s (1 - s)
//   with z = beta x, s = sigmoid(z)
//
// In float64 z is a Pair: below 2 ULP (swish_double.h). In float32 it is t + lo too, and S and both
// derivatives are piecewise polynomials, rounded once (swish_float.h). Without fused multiply-add all is in
// double.
//
// beta = 1 has the bits of silu. Limits: beta = inf gives relu, beta = 0 gives x/2. NaN in x or beta gives
// NaN.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/joined_rows.h"
#include "kernels/activations/sigmoid.h"
#include "kernels/activations/silu.h"
#include "kernels/activations/swish_float.h"

FASTNORM_TARGET_BEGIN

// silu_value where beta is 1, else swish_value.
template <class V, class Silu>
FASTNORM_INLINE V with_silu(V beta, V swish_value, Silu silu_value) {
    const auto is_one = beta == broadcast<V>(1);
    return any(is_one) ? select(is_one, silu_value(), swish_value) : swish_value;
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N> swish(Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return SwishDouble<PairArithmetic, N>::value(x, beta);
    } else if constexpr (has_fma) {
        return swish_float(x, beta);
    } else {
        const auto y = SwishDouble<PlainArithmetic, N>::value(to_double(x), to_double(beta));
        return with_silu(beta, to_float(y), [&]() FASTNORM_INLINE_LAMBDA { return silu(x); });
    }
}

// dy/dx.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> swish_derivative(Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return SwishDouble<PairArithmetic, N>::derivative(x, beta);
    } else if constexpr (has_fma) {
        return swish_derivative_float(x, beta);
    } else {
        const auto slope = SwishDouble<PlainArithmetic, N>::derivative(to_double(x), to_double(beta));
        return with_silu(beta, to_float(slope), [&]() FASTNORM_INLINE_LAMBDA { return silu_derivative(x); });
    }
}

// Both as layers compute them, whose sums err by more than the roundings of beta x and of the product: x
// sigmoid(beta x), and its derivative, that of u sigmoid(u) at u = beta x. The limits are those above; beta
// is finite.
template <class V>
FASTNORM_INLINE V layer_argument(V x, V beta) {
    const V z = beta * x;
    return select(is_nan(z) & !is_nan(x), broadcast<V>(0), z);
}
template <class V>
FASTNORM_INLINE V layer_swish(V x, V beta) {
    const V s = sigmoid(layer_argument(x, beta)), zero = broadcast<V>(0);
    return select(s == zero, copy_sign(zero, x), x * s);
}
template <class V>
FASTNORM_INLINE V layer_swish_derivative(V x, V beta) {
    return silu_derivative(layer_argument(x, beta));
}

// Whether a beta that segments share is worth a loop of its own: one in double is long enough to fetch it.
template <class T>
constexpr bool swish_shares_beta = sizeof(T) < 8 && has_fma;

// Whether all values are 1; the first tells mostly.
template <class C>
FASTNORM_OUTLINE bool are_ones(const C* values, std::int64_t count) {
    using V = Vec<C, native<C>>;
    bool result = values[0] == 1;
    for (std::int64_t j = 0; result && j < count; j += native<C>) {
        const V some = load_partial<V>(values + j, int(smaller(native<C>, count - j)), 1);
        result = !any(some != broadcast<V>(1));
    }
    return result;
}

// y of a run of elements that share one beta, which stays in a register, or have one each.
template <class T>
FASTNORM_OUTLINE void swish_span(
    const Span<T, T, 1, 1>& of_x, const compute_t<T>* beta, std::int64_t ahead, bool is_shared,
    std::int64_t count, bool streaming
) {
    using C = compute_t<T>;
    using V = Argument<T, 1>;
    using W = Argument<T, 2>;
    if (are_ones(beta, is_shared ? 1 : count)) return fill_span(of_x, count, streaming, Silu());
    if constexpr (swish_shares_beta<T>) {
        if (is_shared) {
            const C factor = *beta;
            return fill_span(of_x, count, streaming, [=](V v) FASTNORM_INLINE_LAMBDA {
                return swish(v, broadcast<V>(factor));
            });
        }
    }
    const Span<T, C, 2, 1> of_both{
        {of_x.last}, beta, {of_x.ahead[0], reinterpret_cast<const T*>(beta + ahead)}, {of_x.out[0]}
    };
    fill_span(of_both, count, streaming, [](W v, W factor) FASTNORM_INLINE_LAMBDA {
        return swish(v, factor);
    });
}

// y of units that are rows which follow each other.
template <class T>
FASTNORM_OUTLINE void joined_swish_forward(
    const SwishForward& task, std::int64_t begin, std::int64_t end, compute_t<T>* betas
) {
    const Rows& shape = task.shape;
    const Operand& beta = task.operands[1];
    const RowSpan<T> x(shape, task.operands[0], nullptr), y(shape, task.operands[2], nullptr);
    const std::int64_t ahead = task.stream ? fetched_ahead : 0;
    bool repeats = true;
    for (int axis = 0; axis < shape.outer_axes; ++axis) repeats = repeats && beta.outer_stride[axis] == 0;
    if (repeats) spread_betas(shape, beta, 0, task.rows_together, betas);
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t row = unit * task.rows_together;
        const std::int64_t rows = smaller(task.rows_together, shape.rows - row);
        if (!repeats) spread_betas(shape, beta, row, rows, betas);
        const T* const source = x.place(row, 0);
        const Span<T, T, 1, 1> of_x{{}, source, {source + ahead}, {y.place(row, 0)}};
        swish_span<T>(of_x, betas, 0, false, rows * shape.cols, task.stream);
    }
}

template <class T>
void swish_forward(const SwishForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    char* space = static_cast<char*>(scratch);
    if (task.rows_together > 1) return joined_swish_forward<T>(task, begin, end, reinterpret_cast<C*>(space));
    const bool is_shared = swish_shares_beta<T> && task.operands[1].inner_stride[0] == 0;
    Segment<T> x, y;
    Segment<C> betas;
    x.attach(task.shape, task.operands[0], space);
    betas.attach(task.shape, task.operands[1], space);
    y.attach(task.shape, task.operands[2], space);
    const std::int64_t per_row = segments_per_row(task), ahead = task.stream ? fetched_ahead : 0;
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = segment / per_row, column = segment % per_row * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        const T* const source = x.fetched(row, column, count);
        const C* const beta = betas.fetched(row, column, is_shared ? 1 : count);
        const Span<T, T, 1, 1> of_x{{}, source, {source + ahead}, {y.place(row, column)}};
        swish_span<T>(of_x, beta, ahead, is_shared, count, task.stream);
        y.write_back(count);
    }
}

FASTNORM_TARGET_END
