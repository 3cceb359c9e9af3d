// What the activations in float are far below 0, where their polynomials end: multiples of an exponential.
// For targets with fused multiply-add.
#pragma once

#include "simd/math.h"

FASTNORM_TARGET_BEGIN

// (a + a_lo) e + b e^2, e = exp(x + lo), x < -8, the low parts far below 1, in pieces for one rounding. s of
// e = (1 + s) 2^n is kept as the sum of two: its rounding would show where a is near a power of two from
// below.
template <class V>
FASTNORM_INLINE V far_tail(V x, V lo, V a, V a_lo, V b) {
    using R = Reduction<float>;
    const V near = max(broadcast<V>(-150), x), one = broadcast<V>(1);
    const V n = whole_powers(near);
    const V high = negative_mul_add(n, broadcast<V>(R::ln2_high), near);
    const V low = mul_add(n, broadcast<V>(-R::ln2_low), select(near == x, lo, broadcast<V>(0)));
    const V r = high + low;
    const Pair<V> s = fast_two_sum(high, mul_add(r * r, polynomial(r, exponential_series_single), low));
    const Pair<V> whole = fast_two_sum(one, s.hi);
    // From 2^-100 on e^2 is nothing beside e.
    const V more = mul_add(b, scale(whole.hi, max(broadcast<V>(-100), n)), a_lo);
    return scale_gradually(mul_add(a, whole.hi, mul_add(more, whole.hi, a * (whole.lo + s.lo))), n);
}

FASTNORM_TARGET_END
