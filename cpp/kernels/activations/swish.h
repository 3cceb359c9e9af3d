// swish with a parameter beta for each element, and its gradients:
//
//   y = x sigmoid(beta x),  dx = dy * (s + z s (1 - s)),  dbeta = sum dy x^2 s (1 - s)
//   with z = beta x, s = sigmoid(z)
//
// beta has one value for each row of the backward, whose columns are the elements that share it. As swish(x,
// -beta) is -swish(-x, beta), the functions of t = |z| of logistic_double.h do: with u = x or, for beta < 0,
// -x,
//
//   y = +-(max(u, 0) - |u| S(t)),  dy/dx = D(t) for u < 0, 1 - D(t) for u >= 0
//   dy/dbeta = x^2 S(t) (1 - S(t))
//
// In float64 z is a Pair: below 2 ULP. In float32 it is t + lo too, and S and both derivatives are the
// piecewise polynomials of logistic_float.h, rounded once: y below 1 ULP, its derivative below 2 (for all x
// and a few beta: docs/accuracy.md). Where z is not between -20 and the largest number, or beta is 1, the
// lane is computed in double or by silu, which is rare and kept out of the loops. Without fused multiply-add
// all is in double.
//
// beta = 1 has the bits of silu. Limits: beta = inf gives relu, beta = 0 gives x/2, infinite x included (0
// times infinity counts as z = 0); where exp(-t) vanishes, products with it vanish. NaN in x or beta gives
// NaN.
#pragma once

#include <cstring>

#include "kernels/loops/elementwise.h"
#include "kernels/activations/sigmoid.h"
#include "kernels/activations/silu.h"
#include "kernels/loops/row_span.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

template <template <class> class A, int N>
struct SwishDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;
    using F = LogisticDouble<A, N>;

    static constexpr bool is_plain = sizeof(Number) == sizeof(V);
    // t from which x S(t), or dy x^2 S(t), vanishes for every finite x and dy of the type (all but the
    // largest doubles).
    static constexpr double last_t = is_plain ? 300 : 1460, last_bell = is_plain ? 400 : 2760;

    static FASTNORM_INLINE V turned(V x, V beta) { return select(beta < broadcast<V>(0), -x, x); }
    // |x|, at most the largest number of the type.
    static FASTNORM_INLINE V magnitude(V x) {
        return min(broadcast<V>(is_plain ? 0x1.fffffep127 : 0x1.fffffffffffffp1023), abs(x));
    }

    // |beta x|, at most `last`.
    static FASTNORM_INLINE Number argument(V x, V beta, double last) {
        const V a = abs(beta), b = abs(x), zero = broadcast<V>(0), most = broadcast<V>(last);
        const V whole = a * b;
        const auto is_zero = is_nan(whole) & !is_nan(a) & !is_nan(b);
        const V t = select(is_zero, zero, min(most, whole));
        if constexpr (is_plain) {
            return t;
        } else {
            V rest;
            two_product(a, b, rest);
            return {t, select((whole < most) & !is_nan(rest), rest, zero)};
        }
    }

    static FASTNORM_INLINE V value(V x, V beta) {
        const V u = turned(x, beta);
        const Number t = argument(x, beta, last_t);
        const V y = max(broadcast<V>(-0.0), u) - F::tail_times(t, magnitude(x));
        return turned(select(M::rounded(t) == broadcast<V>(0), u * broadcast<V>(0.5), y), beta);
    }

    static FASTNORM_INLINE V derivative(V x, V beta) {
        const V slope = F::slope(argument(x, beta, F::last_t));
        return select(turned(x, beta) < broadcast<V>(0), slope, broadcast<V>(1) - slope);
    }

    // g x^2 S (1 - S): half of the power of two goes to either x, so that no product overflows or vanishes
    // before all do.
    static FASTNORM_INLINE V beta_term(V g, V x, V beta) {
        const Number t = argument(x, beta, last_bell);
        const auto bell = F::scaled_bell(t);
        const V magic = broadcast<V>(Reduction<double>::magic),
                half = mul_add(bell.n, broadcast<V>(0.5), magic) - magic;
        const V factor = magnitude(x);
        const V term = ((g * bell.number) * scale(factor, half)) * scale(factor, bell.n - half);
        return select(M::rounded(t) == broadcast<V>(last_bell), g * broadcast<V>(0), term);
    }
};

// What is computed in float, with fused multiply-add, of one register.
template <int N>
struct SwishFloat {
    using V = Vec<float, N>;
    using Double = SwishDouble<PlainArithmetic, N>;

    V x, beta, z, t, lo;  // |z| is t + lo

    FASTNORM_INLINE SwishFloat(V x_, V beta_) : x(x_), beta(beta_), z(x_ * beta_) {
        const V a = abs(x), b = abs(beta), whole = a * b, last = broadcast<V>(logistic_tail.last_t);
        t = min(last, whole);
        lo = select(whole <= last, mul_sub(a, b, whole), broadcast<V>(0));
    }

    // Whether z is in the range of the polynomials, and beta is not 1.
    FASTNORM_INLINE auto is_usual() const {
        return (z >= broadcast<V>(-logistic_tail.far_t)) & (z <= broadcast<V>(0x1.fffffep127f)) &
               (beta != broadcast<V>(1));
    }

    // S(t) and its complement are left as sums of two, so that y is rounded once.
    FASTNORM_INLINE V value() const {
        const V one = broadcast<V>(1);
        const auto step = last_step<logistic_tail>(t, lo);
        const V tail = mul_add(step.slope, step.d, step.c0);
        const V rest = mul_add(step.slope, step.d, step.c0 - tail) + step.correction;
        const V complement = one - tail, error = (one - complement) - tail;
        const auto negative = z < broadcast<V>(0);
        // The two products of -0 may differ in sign, and y has that of x.
        const V y = mul_add(x, select(negative, tail, complement), x * select(negative, rest, error - rest));
        return any(!is_usual()) ? rare_value(copy_sign(y, x)) : copy_sign(y, x);
    }
    FASTNORM_OUTLINE V rare_value(V y) const {
        const auto is_usual_or_one = is_usual() | (beta == broadcast<V>(1));
        const V result = select(is_usual(), y, silu(x));
        if (!any(!is_usual_or_one)) return result;
        return select(is_usual_or_one, result, to_float(Double::value(to_double(x), to_double(beta))));
    }

    // Around its zero both terms of D are larger than it is.
    FASTNORM_INLINE V derivative() const {
        const auto step = last_step<silu_slope>(t, lo);
        const Pair<V> last = product(step.slope, step.d), sum = two_sum(step.c0, last.hi);
        const V slope = sum.hi + (sum.lo + (last.lo + step.correction));
        const V result = select(z < broadcast<V>(0), slope, broadcast<V>(1) - slope);
        return any(!is_usual()) ? rare_derivative(result) : result;
    }
    FASTNORM_OUTLINE V rare_derivative(V result) const {
        const auto is_usual_or_one = is_usual() | (beta == broadcast<V>(1));
        const V slope = select(is_usual(), result, silu_derivative(x));
        if (!any(!is_usual_or_one)) return slope;
        return select(is_usual_or_one, slope, to_float(Double::derivative(to_double(x), to_double(beta))));
    }

    FASTNORM_INLINE Vec<double, N> beta_term(V g) const {
        const auto step = last_step<logistic_bell>(t, lo);
        const auto bell = to_double(mul_add(step.slope, step.d, step.c0 + step.correction)),
                   wide_x = to_double(x);
        const auto term = (to_double(g) * wide_x) * (wide_x * bell);
        return any(z != z) || any(t > broadcast<V>(logistic_tail.far_t)) ? rare_beta_term(g, term) : term;
    }
    FASTNORM_OUTLINE Vec<double, N> rare_beta_term(V g, Vec<double, N> term) const {
        const V one = broadcast<V>(1), zero = broadcast<V>(0);
        const auto is_usual = to_double(select(t <= broadcast<V>(logistic_tail.far_t), one, zero));
        return select(
            is_usual == broadcast<Vec<double, N>>(1), term,
            Double::beta_term(to_double(g), to_double(x), to_double(beta))
        );
    }
};

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
        return SwishFloat<N>(x, beta).value();
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
        return SwishFloat<N>(x, beta).derivative();
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

// g dy/dbeta.
template <class T, int N>
FASTNORM_INLINE Vec<double, N> swish_beta_term(Vec<T, N> g, Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return SwishDouble<PairArithmetic, N>::beta_term(g, x, beta);
    } else if constexpr (has_fma) {
        return SwishFloat<N>(x, beta).beta_term(g);
    } else {
        return SwishDouble<PlainArithmetic, N>::beta_term(to_double(g), to_double(x), to_double(beta));
    }
}

template <class T>
void swish_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1, compute_t<T>>(task, begin, end, scratch, [](auto x, auto beta) FASTNORM_INLINE_LAMBDA {
        return swish(x, beta);
    });
}

// dx of `count` elements, a multiple of the lanes, whose terms of dbeta are added to the row_lanes lanes of
// `sums`.
template <class T>
FASTNORM_OUTLINE void swish_gradients(
    const T* dy, const T* x, T* dx, std::int64_t count, compute_t<T> parameter, double* sums
) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    const V beta = broadcast<V>(parameter);
    for (std::int64_t i = 0; i < count; i += lanes) {
        const V g = load<V>(dy + i), v = load<V>(x + i);
        double* const lane = sums + i % row_lanes;
        store(lane, load<Vec<double, lanes>>(lane) + swish_beta_term(g, v, beta));
        store(dx + i, g * swish_derivative(v, beta));
    }
}

// dx of segments [begin, end), and the share of each in its row's dbeta: a sum over row_lanes lanes.
template <class T>
void swish_backward(const SwishBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    T* space = static_cast<T*>(scratch);
    RowSpan<T> dy(task.shape, task.dy, space), x(task.shape, task.x, space + segment_elements),
        dx(task.shape, task.dx, space + 2 * segment_elements);
    const std::int64_t per_row = (task.shape.cols + segment_elements - 1) / segment_elements;
    for (std::int64_t segment = begin; segment < end; ++segment) {
        const std::int64_t row = segment / per_row, column = segment % per_row * segment_elements;
        const std::int64_t count = smaller(segment_elements, task.shape.cols - column);
        const T* upstream = dy.fetch(row, column, count);
        const T* source = x.fetch(row, column, count);
        T* target = dx.place(row, column);
        const C beta = static_cast<const C*>(task.beta)[row];
        alignas(64) double sums[row_lanes] = {};
        const std::int64_t rest = count % lanes, whole = count - rest;
        swish_gradients(upstream, source, target, whole, beta, sums);
        if (rest > 0) {
            const std::size_t bytes = std::size_t(rest) * sizeof(T);
            T last[3][lanes] = {};
            std::memcpy(last[0], upstream + whole, bytes);
            std::memcpy(last[1], source + whole, bytes);
            swish_gradients(last[0], last[1], last[2], lanes, beta, sums + whole % row_lanes);
            std::memcpy(target + whole, last[2], bytes);
        }
        task.dbeta_shares[segment] = sum(load<Vec<double, row_lanes>>(sums));
        dx.write_back(row, column, count);
    }
}

FASTNORM_TARGET_END
