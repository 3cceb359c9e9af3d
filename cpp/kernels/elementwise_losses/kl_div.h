// kl_div: y (log y - x) for log probabilities x and probabilities y, or logarithms t of such, y = exp(t):
//
//   loss = y (log y - x), 0 where y is 0;  dx = -y
//
// Error, float32: below 4 ULP of y (|log y| + |x|), between which the loss may cancel. A y below 0 has no
// logarithm and gives NaN.
#pragma once

#include <limits>

#include "kernels/elementwise_losses/loss_blocks.h"
#include "simd/logarithm.h"

FASTNORM_TARGET_BEGIN

template <class C, bool of_logarithms>
class Divergence {
public:
    explicit FASTNORM_INLINE Divergence(const ElementwiseLoss&) {}

    template <class V>
    FASTNORM_INLINE LossTerms<V> at(V x, V target) const {
        const V zero = broadcast<V>(0);
        V y, logarithm;
        if constexpr (of_logarithms) {
            logarithm = target;
            constexpr bool is_single = sizeof(C) == 4;
            const V least = broadcast<V>(is_single ? C(-105) : C(-746)),
                    most = broadcast<V>(is_single ? C(89) : C(710));
            const auto parts = exponential(max(least, min(most, target)));
            y = scale(broadcast<V>(1) + parts.s, parts.n);
        } else {
            y = target;
            logarithm = of(target);
        }
        const V product = y * (logarithm - x);
        // Nothing is added where y is 0, be x -infinity; NaN stays.
        return {select(y == zero, select(x == x, zero, x), product), -y};
    }

private:
    // Of subnormal numbers too.
    template <class V>
    static FASTNORM_INLINE V of(V y) {
        constexpr bool is_single = sizeof(C) == 4;
        constexpr C lift = is_single ? C(0x1p32) : C(0x1p64);
        const auto is_small = y < broadcast<V>(std::numeric_limits<C>::min());
        const V normal = log(select(is_small, y * broadcast<V>(lift), y));
        const V lowered = normal - broadcast<V>(C((is_single ? 32 : 64) * 0.69314718055994530942));
        return select(
            y < broadcast<V>(0), broadcast<V>(std::numeric_limits<C>::quiet_NaN()),
            select(is_small, lowered, normal)
        );
    }
};

template <class T>
void kl_div(const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    if (task.of_logarithms) {
        run_loss<Divergence<C, true>, T>(task, begin, end, scratch, 0, -std::numeric_limits<C>::infinity());
    } else {
        run_loss<Divergence<C, false>, T>(task, begin, end, scratch, 0, 0);
    }
}

FASTNORM_TARGET_END
