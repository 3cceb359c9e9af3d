// softplus and its gradient, element by element, with z = beta x:
//
//   y = log(1 + e^z)/beta,  dx = dy * sigmoid(z);  where z > threshold, y = x and dx = dy
//
// beta is finite and not 0. A negative one mirrors: softplus(x, -beta) = -softplus(-x, beta). beta and
// threshold are of the compute type, in which z is rounded for the comparison.
//
// With t = |z|, e = exp(-t), log(1 + e^z) = max(z, 0) + log(1 + e), and log(1 + e) = 2 atanh(e/(2 + e)), a
// series in that fraction (simd/logarithm.h) which keeps its digits where e is small. In double z is a Pair.
//
// In float log(1 + e^z) is a piecewise polynomial; from its last t on y is x. z is t + lo, of which lo goes
// into the polynomial's t - center, and 1/beta is the sum of two, so that y is rounded once. Before the first
// t log(1 + e^z) is e^z - e^2z/2 but for e^3z/3, and the sigmoid's far tail is e^z - e^2z; both are computed
// only where a lane needs them. Without fused multiply-add, or with a beta beyond 2^-20 and 2^20, all is in
// double.
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs, for beta 1
// and a few others (docs/accuracy.md), where the threshold is at least 17; float64 below 1 ULP (dense
// samples). Half types compute in float and round once more. NaN gives NaN; softplus(-inf) = 0 (-0 for beta <
// 0), softplus(inf) = inf; the derivative tends to 0 and 1. Subnormal results are kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/logistic_double.h"
#include "kernels/activations/logistic_float.h"
#include "kernels/tables/softplus_coefficients.h"
#include "simd/logarithm.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

constexpr double softplus_threshold = 20;  // the default

// A finite number other than 0 as m 2^n, 1 <= |m| < 2.
struct Scaled {
    double m, n;
};
FASTNORM_INLINE Scaled normal_and_power(double a) {
    const bool is_subnormal = a > -0x1p-1022 && a < 0x1p-1022;
    std::uint64_t bits;
    const double normal = is_subnormal ? a * 0x1p100 : a;
    std::memcpy(&bits, &normal, sizeof bits);
    const int exponent = int(bits >> 52 & 0x7ff) - 1023;
    bits -= std::uint64_t(std::int64_t(exponent)) << 52;
    double m;
    std::memcpy(&m, &bits, sizeof m);
    return {m, double(exponent) - (is_subnormal ? 100 : 0)};
}

// In double, whatever beta: x is first multiplied with its power of two.
class SoftplusDouble {
public:
    explicit FASTNORM_INLINE SoftplusDouble(double beta) : beta_(normal_and_power(beta)) {}

    template <template <class> class A, int N>
    FASTNORM_INLINE Vec<double, N> value(Vec<double, N> x) const {
        using V = Vec<double, N>;
        using M = A<V>;
        using Number = typename M::Number;
        // t from which e/beta vanishes.
        constexpr double last_t = sizeof(Number) == sizeof(V) ? 300 : 1460;
        const V z = product_with(x), zero = broadcast<V>(0);
        const Number t = magnitude<Number>(x, z, last_t);
        const auto e = M::exponential(M::negative(t));
        const Number fraction = M::one_plus(e.s);
        const V power = power_of_two(max(e.n, broadcast<V>(-1000)));
        const Number s = M::quotient(fraction, M::sum(M::scaled(fraction, power), broadcast<V>(2)));
        const V rounded = M::rounded(s), whole = rounded * power, square = whole * whole;
        const V rest = rounded * (square * softplus_polynomial(square));
        const Number logarithm = M::sum(M::scaled(s, broadcast<V>(2)), rest);  // of 1 + e, over 2^n
        const auto is_negative = z < zero;
        const Number sum = select(is_negative, logarithm, M::sum(t, M::scaled(logarithm, power)));
        const V result = M::rounded(M::quotient(sum, M::constant(beta_.m, 0)));
        const V y = M::times_power(result, select(is_negative, e.n, zero) - broadcast<V>(beta_.n));
        return select(z > broadcast<V>(40), x, y);
    }

    template <template <class> class A, int N>
    FASTNORM_INLINE Vec<double, N> derivative(Vec<double, N> x) const {
        using V = Vec<double, N>;
        using F = LogisticDouble<A, N>;
        const V z = product_with(x);
        const V tail = F::tail(magnitude<typename F::Number>(x, z, F::last_t));
        return select(z < broadcast<V>(0), tail, broadcast<V>(1) - tail);
    }

private:
    template <class V>
    FASTNORM_INLINE V product_with(V x) const {
        return scale(x, broadcast<V>(beta_.n)) * broadcast<V>(beta_.m);
    }

    // |z|, at most `last`.
    template <class Number, class V>
    FASTNORM_INLINE Number magnitude(V x, V z, double last) const {
        const V most = broadcast<V>(last), whole = abs(z);
        if constexpr (sizeof(Number) == sizeof(V)) {
            return min(most, whole);
        } else {
            V rest;
            two_product(abs(scale(x, broadcast<V>(beta_.n))), abs(broadcast<V>(beta_.m)), rest);
            return {min(most, whole), select(whole < most, rest, broadcast<V>(0))};
        }
    }
    template <class Mask, class V>
    static FASTNORM_INLINE Pair<V> select(Mask mask, Pair<V> a, Pair<V> b) {
        return {select(mask, a.hi, b.hi), select(mask, a.lo, b.lo)};
    }
    template <class Mask, class T, int N>
    static FASTNORM_INLINE Vec<T, N> select(Mask mask, Vec<T, N> a, Vec<T, N> b) {
        return fastnorm::FASTNORM_TARGET::select(mask, a, b);
    }

    Scaled beta_;
};

// ---- the functions of one beta and threshold --------------------------------------------------------------
// Each has value(x) and derivative(x) of Vecs of its compute type.

// In double, of either type.
template <class C>
class SoftplusWide {
public:
    FASTNORM_INLINE SoftplusWide(C beta, C threshold) : function_(beta), beta_(beta), threshold_(threshold) {}

    template <int N>
    FASTNORM_INLINE Vec<C, N> value(Vec<C, N> x) const {
        if constexpr (sizeof(C) == 8) {
            return select(is_past(x), x, function_.value<PairArithmetic>(x));
        } else {
            return select(is_past(x), x, narrow_value(x));
        }
    }

    template <int N>
    FASTNORM_INLINE Vec<C, N> derivative(Vec<C, N> x) const {
        const Vec<C, N> one = broadcast<Vec<C, N>>(1);
        if constexpr (sizeof(C) == 8) {
            return select(is_past(x), one, function_.derivative<PairArithmetic>(x));
        } else {
            return select(is_past(x), one, narrow_derivative(x));
        }
    }

private:
    // Calls: with fused multiply-add only betas far from 1 come here, of all types that compute in float.
    template <int N>
    FASTNORM_OUTLINE Vec<float, N> narrow_value(Vec<float, N> x) const {
        return to_float(function_.value<PlainArithmetic>(to_double(x)));
    }
    template <int N>
    FASTNORM_OUTLINE Vec<float, N> narrow_derivative(Vec<float, N> x) const {
        return to_float(function_.derivative<PlainArithmetic>(to_double(x)));
    }

    template <class V>
    FASTNORM_INLINE auto is_past(V x) const {
        return x * broadcast<V>(beta_) > broadcast<V>(threshold_);
    }

    SoftplusDouble function_;
    C beta_, threshold_;
};

// In float with fused multiply-add, of beta = 1. What the polynomials make of x outside of their range is not
// taken.
class SoftplusUnit {
public:
    explicit FASTNORM_INLINE SoftplusUnit(float threshold)
        : threshold_(threshold),
          last_(threshold < softplus_pieces.last_t ? threshold : softplus_pieces.last_t) {}

    template <int N>
    FASTNORM_INLINE Vec<float, N> value(Vec<float, N> x) const {
        using V = Vec<float, N>;
        const V one = broadcast<V>(1), zero = broadcast<V>(0);
        V result = piecewise<softplus_pieces, false>(x);
        const auto far = x < broadcast<V>(softplus_pieces.first_t);
        if (any(far)) {
            result = select(far, far_tail(x, zero, one, zero, broadcast<V>(-0.5f)), result);
        }
        return select(x > broadcast<V>(last_), x, result);
    }

    template <int N>
    FASTNORM_INLINE Vec<float, N> derivative(Vec<float, N> x) const {
        using V = Vec<float, N>;
        return select(x > broadcast<V>(threshold_), broadcast<V>(1), sigmoid_float(x));
    }

private:
    float threshold_, last_;  // beyond last_ softplus is x
};

// Likewise, of a beta between 2^-20 and 2^20 in magnitude.
class SoftplusScaled {
public:
    static constexpr float least = 0x1p-20f, most = 0x1p20f;

    FASTNORM_INLINE SoftplusScaled(float beta, float threshold)
        : beta_(beta),
          inverse_(float(1 / double(beta))),
          inverse_rest_(float(1 / double(beta) - double(inverse_))),
          threshold_(threshold),
          last_(threshold < softplus_pieces.last_t ? threshold : softplus_pieces.last_t) {}

    template <int N>
    FASTNORM_INLINE Vec<float, N> value(Vec<float, N> x) const {
        using V = Vec<float, N>;
        if constexpr (N > native<float>) {
            return {value(x.lo), value(x.hi)};
        } else {
            const V inverse = broadcast<V>(inverse_), inverse_rest = broadcast<V>(inverse_rest_);
            const V z = x * broadcast<V>(beta_), lo = mul_sub(x, broadcast<V>(beta_), z);
            const auto step = last_step<softplus_pieces>(z, lo);
            const V whole = mul_add(step.slope, step.d, step.c0);
            const V rest = mul_add(step.slope, step.d, step.c0 - whole) +
                           mul_add(step.slope_rest, step.d, step.correction);
            V result = mul_add(whole, inverse, mul_add(whole, inverse_rest, rest * inverse));
            const auto far = z < broadcast<V>(softplus_pieces.first_t);
            if (any(far)) {
                const V tail = far_tail(z, lo, inverse, inverse_rest, inverse * broadcast<V>(-0.5f));
                result = select(far, tail, result);
            }
            return select(z > broadcast<V>(last_), x, result);
        }
    }

    template <int N>
    FASTNORM_INLINE Vec<float, N> derivative(Vec<float, N> x) const {
        using V = Vec<float, N>;
        if constexpr (N > native<float>) {
            return {derivative(x.lo), derivative(x.hi)};
        } else {
            const V one = broadcast<V>(1), zero = broadcast<V>(0), last = broadcast<V>(logistic_tail.last_t);
            const V z = x * broadcast<V>(beta_), lo = mul_sub(x, broadcast<V>(beta_), z), t = abs(z);
            const auto is_negative = z < zero, far = z < broadcast<V>(-logistic_tail.far_t);
            const V rest = select(t <= last, select(is_negative, -lo, lo), zero);
            const auto step = last_step<logistic_tail>(min(last, t), rest);
            const V tail = mul_add(step.slope, step.d, step.c0 + step.correction);
            V result = select(is_negative, tail, one - tail);
            if (any(far)) {
                result = select(far, far_tail(z, lo, one, zero, -one), result);
            }
            return select(z > broadcast<V>(threshold_), one, result);
        }
    }

private:
    float beta_, inverse_, inverse_rest_;  // 1/beta is the sum of two
    float threshold_, last_;               // beyond last_ softplus is x
};

// use(f), f the functions of beta and threshold, rounded to C.
template <class C, class Use>
FASTNORM_INLINE void with_softplus(double beta, double threshold, const Use& use) {
    if constexpr (sizeof(C) == 4 && has_fma) {
        const float narrow = float(beta), magnitude = narrow < 0 ? -narrow : narrow;
        if (narrow == 1) return use(SoftplusUnit(float(threshold)));
        if (magnitude >= SoftplusScaled::least && magnitude <= SoftplusScaled::most) {
            return use(SoftplusScaled(narrow, float(threshold)));
        }
    }
    use(SoftplusWide<C>(C(beta), C(threshold)));
}

template <class V>
FASTNORM_INLINE V softplus(V x, double beta, double threshold) {
    V y;
    with_softplus<element_t<V>>(beta, threshold, [&](auto f) { y = f.value(x); });
    return y;
}
template <class V>
FASTNORM_INLINE V softplus_derivative(V x, double beta, double threshold) {
    V y;
    with_softplus<element_t<V>>(beta, threshold, [&](auto f) { y = f.derivative(x); });
    return y;
}

// With the default beta and threshold.
template <class T, int N>
FASTNORM_MATH Vec<T, N> softplus(Vec<T, N> x) {
    if constexpr (sizeof(T) == 4 && has_fma) {
        return SoftplusUnit(float(softplus_threshold)).value(x);
    } else {
        return SoftplusWide<T>(1, T(softplus_threshold)).value(x);
    }
}
template <class T, int N>
FASTNORM_MATH Vec<T, N> softplus_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 4 && has_fma) {
        return SoftplusUnit(float(softplus_threshold)).derivative(x);
    } else {
        return SoftplusWide<T>(1, T(softplus_threshold)).derivative(x);
    }
}

template <class T>
void softplus_forward(const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch) {
    with_softplus<compute_t<T>>(task.parameters[0], task.parameters[1], [&](auto f) {
        map<T, 1, 1>(task, begin, end, scratch, [f](auto x) FASTNORM_INLINE_LAMBDA { return f.value(x); });
    });
}
template <class T>
void softplus_backward(
    const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    with_softplus<compute_t<T>>(task.parameters[0], task.parameters[1], [&](auto f) {
        map<T, 2, 1>(task, begin, end, scratch, [f](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
            return dy * f.derivative(x);
        });
    });
}

FASTNORM_TARGET_END
