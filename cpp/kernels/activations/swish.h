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

// A beta that segments share stays in a register.
template <class T>
void swish_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    using V = Argument<T, 1>;
    using W = Argument<T, 2>;
    // A loop in double is long enough to fetch it.
    constexpr bool is_float = sizeof(T) < 8 && has_fma;
    const bool is_shared = is_float && task.operands[1].inner_stride[0] == 0;
    char* space = static_cast<char*>(scratch);
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
        T* const target = y.place(row, column);
        const C* const beta = betas.fetched(row, column, is_shared ? 1 : count);
        const Span<T, T, 1, 1> of_x{{}, source, {source + ahead}, {target}};
        if (are_ones(beta, is_shared ? 1 : count)) {
            fill_span(of_x, count, task.stream, Silu());
        } else if (is_shared) {
            if constexpr (is_float) {
                const C factor = *beta;
                fill_span(of_x, count, task.stream, [=](V v) FASTNORM_INLINE_LAMBDA {
                    return swish(v, broadcast<V>(factor));
                });
            }
        } else {
            const Span<T, C, 2, 1> of_both{
                {source}, beta, {source + ahead, reinterpret_cast<const T*>(beta + ahead)}, {target}
            };
            fill_span(of_both, count, task.stream, [](W v, W factor) FASTNORM_INLINE_LAMBDA {
                return swish(v, factor);
            });
        }
        y.write_back(count);
    }
}

FASTNORM_TARGET_END
