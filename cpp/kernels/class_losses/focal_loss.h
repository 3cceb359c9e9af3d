// focal_loss: the cross entropy l of the class t, weighed down where p_t is large; u = 1 - p_t:
//   loss = u^gamma l,  dz_j = (p_j - [j = t]) (u^gamma + gamma u^(gamma - 1) p_t l)
// Source: Lin et al., "Focal Loss for Dense Object Detection", 2017 (here over a softmax).
#pragma once

#include "simd/logarithm.h"
#include "kernels/loops/exponential_rows.h"

FASTNORM_TARGET_BEGIN

// x^y for 0 <= x <= 1 and y >= 0, by multiplications where y is a small integer.
FASTNORM_INLINE double power_at(double x, double y) {
    if (y == 0) return 1;
    if (y == double(int(y < 64 ? y : 0.5))) {
        double result = x;
        for (int k = 1; k < int(y); ++k) result *= x;
        return result;
    }
    if (x < 0x1p-1022) return x == x ? 0 : x;
    return at_point(x, [&](auto v) FASTNORM_INLINE_LAMBDA {
        return exp(broadcast<decltype(v)>(y) * log(v));
    });
}

// What cross entropy is multiplied by, and what its gradient is.
struct FocalFactor {
    double power, lower;  // u^gamma and gamma u^(gamma - 1)

    // p is 0 only where l need not be finite.
    FASTNORM_INLINE double of_gradient(double p, double l) const {
        return p == 0 ? power : power + lower * (p * l);
    }
};
FASTNORM_INLINE FocalFactor focal_factor(double u, double gamma) {
    const double power = power_at(u, gamma);
    // Where u is 0 the gradient (p_j - [j = t]) G is too, whatever G.
    return {power, gamma == 0 || u == 0 ? 0 : gamma * (power / u)};
}

FASTNORM_TARGET_END
