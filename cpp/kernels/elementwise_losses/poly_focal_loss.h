// poly_focal_loss: focal loss of a sigmoid with a polynomial term, of logits z against targets y in [0, 1],
// element by element:
//
//   p = sigmoid(z), u = y (1 - p) + (1 - y) p, the probability of the other class
//   l = -y log p - (1 - y) log(1 - p), w = y alpha_of_one + (1 - y) alpha_of_zero
//   loss = w (u^gamma l + epsilon u^(gamma + 1))
//   dz   = w u^gamma ((gamma l / u + epsilon (gamma + 1)) du/dz + p - y), du/dz = (1 - 2 y) p (1 - p)
//
// All of it from e = exp(-t), t = |z|, without cancellation. With s = e/(2 + e), so that log1p(e) = 2
// atanh(s), and with
//   small = e/(1 + e), big = 1/(1 + e)      the probabilities
//   near  = log1p(e) - small                = s (small + s^2 R), 2 atanh(s) = 2 s + s^3 R(s^2)
//   far   = t + log1p(e) - big              = near + t - (big - small)
//   a = y or, for z < 0, 1 - y; b = 1 - a   the shares of the class that z is for and of the other
// it is, all terms being at least 0 where epsilon >= -1 and y is 0 or 1,
//   u = a small + b big, l - u = a near + b far, loss = w u^gamma ((l - u) + (1 + epsilon) u)
//   dt = w u^gamma ((b - a) v (gamma (l - u) + (1 + epsilon) (gamma + 1) u) + b big^2 - a small^2),
//   v = small big / u,
// which is big or small where y is 0 or 1. So losses and gradients keep their digits in both tails, also for
// epsilon = -1, which takes the first term of the series of l away.
//
// Error: below 4 (2 + gamma) ULP in loss and gradient for targets 0 and 1; float64 with a gamma that is not
// whole gamma |log u| roundings more.
#pragma once

#include <limits>

#include "kernels/elementwise_losses/loss_blocks.h"
#include "simd/logarithm.h"

FASTNORM_TARGET_BEGIN

// u^exponent for 0 <= u <= 1 and exponent > 0, by way of double.
template <int N>
FASTNORM_INLINE Vec<double, N> power(Vec<double, N> u, double exponent) {
    using V = Vec<double, N>;
    const V result = exp(broadcast<V>(exponent) * log(max(broadcast<V>(0x1p-1022), u)));
    return select(u == broadcast<V>(0), u, result);
}
template <int N>
FASTNORM_INLINE Vec<float, N> power(Vec<float, N> u, double exponent) {
    return to_float(power(to_double(u), exponent));
}

template <class C>
class PolyFocalLoss {
public:
    explicit FASTNORM_INLINE PolyFocalLoss(const ElementwiseLoss& task)
        : exponent_(task.gamma),
          multiplications_(task.gamma <= 8 && task.gamma == double(int(task.gamma)) ? int(task.gamma) : -1),
          gamma_(C(task.gamma)),
          first_(C(1 + task.epsilon)),
          next_(C((1 + task.epsilon) * (1 + task.gamma))),
          alpha_of_one_(C(task.alpha_of_one)),
          alpha_of_zero_(C(task.alpha_of_zero)) {}

    template <class V>
    FASTNORM_INLINE LossTerms<V> at(V z, V y) const {
        const V zero = broadcast<V>(0), one = broadcast<V>(1);
        const V t = abs(z);
        const V e = exponential_of_negative(t);
        const V whole = one + e, more = broadcast<V>(2) + e;
        const V reciprocal = one / (whole * more);
        // 1/(1 + e) with one rounding, as the power multiplies its error: the remainder is exact but for its
        // last bits.
        const V first = more * reciprocal, lost = e - (whole - one);
        const V remainder = negative_mul_add(first, lost, negative_mul_add(first, whole, one));
        const V big = mul_add(first, remainder, first), small = e * big;
        const V s = e * (whole * reciprocal), square = s * s;
        const V near = s * mul_add(square, softplus_polynomial(square), small);
        const V far = near + (t + (small - big));

        const V rest = one - y;
        const auto is_negative = z < zero;
        const V a = select(is_negative, rest, y), b = select(is_negative, y, rest);
        const auto is_sure = (a == zero) | (b == zero);
        // far may be infinite.
        const V excess = mul_add(a, near, select(b == zero, zero, b * far));
        const V u = mul_add(a, small, b * big);
        const V factor =
            mul_add(broadcast<V>(alpha_of_one_), y, broadcast<V>(alpha_of_zero_) * rest) * power_of(u);
        const V loss = factor * mul_add(broadcast<V>(first_), u, excess);

        V v = select(a == zero, small, big);
        if (any(!is_sure)) v = select(is_sure, v, small * big / u);
        const V most = broadcast<V>(sizeof(C) == 4 ? C(0x1p100) : C(0x1p1000));  // times v, which is then 0
        const V bent = v * mul_add(broadcast<V>(gamma_), min(most, excess), broadcast<V>(next_) * u);
        const V pulled = negative_mul_add(a * small, small, (b - a) * bent);
        const V slope = factor * mul_add(b * big, big, pulled);
        return {loss, select(is_negative, -slope, slope)};
    }

private:
    template <class V>
    FASTNORM_INLINE V power_of(V u) const {
        if (multiplications_ < 0) return power(u, exponent_);
        V result = broadcast<V>(1);
        for (int k = 0; k < multiplications_; ++k) result = result * u;
        return result;
    }

    double exponent_;
    int multiplications_;
    C gamma_, first_, next_;  // 1 + epsilon, and that times 1 + gamma
    C alpha_of_one_, alpha_of_zero_;
};

template <class T>
void poly_focal_loss(const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    constexpr C beyond_doubt = std::numeric_limits<C>::infinity();
    run_loss<PolyFocalLoss<C>, T>(task, begin, end, scratch, beyond_doubt, 1);
}

FASTNORM_TARGET_END
