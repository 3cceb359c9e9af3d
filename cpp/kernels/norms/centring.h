// How a row is centred and scaled, in float or, where its statistics leave float's comfortable range, in
// double; weight and bias of its columns.
#pragma once

#include <cmath>

#include "simd/rows.h"

FASTNORM_TARGET_BEGIN

struct Statistics {
    double mean, rstd;
};

FASTNORM_INLINE bool in_range(double value, double least, double most) {
    return value >= least && value <= most;
}

// Whether a row can be centred and scaled in float: rstd, x - mean and their products stay far from its
// limits.
FASTNORM_INLINE bool fits_float(double mean, double rstd) {
    return in_range(rstd, 0x1p-100, 0x1p100) && in_range(mean, -0x1p120, 0x1p120);
}

// The power of two below `value`, kept within what has an inverse.
FASTNORM_INLINE double power_of_two_near(double value) {
    const int exponent = std::ilogb(value);
    return std::ldexp(1.0, exponent > 1000 ? 1000 : exponent < -1000 ? -1000 : exponent);
}

// A power of two that brings the larger of `least` and the row's largest magnitude near 1; 1 where that is
// zero or not finite.
FASTNORM_INLINE double normalising_scale(const double* x, std::int64_t cols, double least) {
    double most = least;
    for (std::int64_t j = 0; j < cols; ++j) {
        const double magnitude = x[j] < 0 ? -x[j] : x[j];
        if (!(magnitude <= most)) most = magnitude;
    }
    return in_range(most, 0x1p-1074, 0x1.fffffffffffffp1023) ? 1 / power_of_two_near(most) : 1;
}

// How a row is centred and scaled: xhat = fma(x * scale - mean, rstd, shift) in compute type C. scale is 1
// but for float64 rows near the ends of its range; shift carries the part of the mean that rounding it to C
// left out.
template <class C>
struct Centre {
    C mean, rstd, shift;
    C scale;
};

template <class C>
FASTNORM_INLINE Centre<C> centre_of(double mean, double rstd) {
    const C rounded = C(mean);
    return {rounded, C(rstd), C(-(mean - double(rounded)) * rstd), C(1)};
}

// The same in every lane, for loops whose stores the compiler could not tell from a change of Centre.
template <class V>
struct CentreLanes {
    V mean, rstd, shift, scale;

    static FASTNORM_INLINE CentreLanes of(const Centre<element_t<V>>& centre) {
        return {
            broadcast<V>(centre.mean), broadcast<V>(centre.rstd), broadcast<V>(centre.shift),
            broadcast<V>(centre.scale)
        };
    }
};

// xhat of a vector of columns. Centred: layer_norm; else rms_norm, whose rows have no mean.
template <class V, bool Centred, class T, class Step>
FASTNORM_INLINE V normalised(const T* x, Step step, const CentreLanes<V>& centre) {
    V value = load_columns<V>(x, step);
    if constexpr (sizeof(compute_t<T>) == 8) value = value * centre.scale;
    if constexpr (Centred) {
        return mul_add(value - centre.mean, centre.rstd, centre.shift);
    } else {
        return value * centre.rstd;
    }
}

// A weight or bias of whole rows in `room`; what an absent one counts as where none is given.
template <class S>
FASTNORM_INLINE void copy_parameter(const void* given, S absent, std::int64_t cols, S* room) {
    for (std::int64_t j = 0; j < cols; ++j) room[j] = given ? static_cast<const S*>(given)[j] : absent;
}

// weight and bias of the columns; absent ones count as 1 and -0, with which fma(xhat, weight, bias) is
// exactly what it is without them.
template <class S>
class Parameters {
public:
    FASTNORM_INLINE Parameters(const void* weight, const void* bias)
        : weight_(weight ? static_cast<const S*>(weight) : one),
          bias_(bias ? static_cast<const S*>(bias) : zero),
          weight_columns_(weight ? -1 : 0),
          bias_columns_(bias ? -1 : 0) {}

    template <class V, class Step>
    FASTNORM_INLINE V weight(std::int64_t j, Step step) const {
        return load_columns<V>(weight_ + (j & weight_columns_), step);
    }
    template <class V, class Step>
    FASTNORM_INLINE V bias(std::int64_t j, Step step) const {
        return load_columns<V>(bias_ + (j & bias_columns_), step);
    }

private:
    static constexpr S one[row_lanes] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static constexpr S zero[row_lanes] = {-S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0),
                                          -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0), -S(0)};

    const S* weight_;
    const S* bias_;
    std::int64_t weight_columns_, bias_columns_;  // masks of j
};

FASTNORM_TARGET_END
