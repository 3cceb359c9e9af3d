// poly_loss: cross entropy with other coefficients for the first terms of its series -log(1 - v) = v + v^2/2
// + ...:
//   loss = cross entropy + sum_k eps_k v^k,  v = 1 - sum q_j p_j, which is 1 - p_t for a class t
//   dz_j = that of cross entropy + (sum_k k eps_k v^(k - 1)) p_j (sum q_i p_i - q_j)
// Source: Leng et al., "PolyLoss", 2022.
#pragma once

#include "simd/vec.h"
#include "tasks/class_losses.h"

FASTNORM_TARGET_BEGIN

// sum_k eps_k v^k and its derivative in v.
struct Polynomial {
    double value, slope;
};
FASTNORM_INLINE Polynomial polynomial_loss(const ClassLoss& task, double v) {
    double value = 0, slope = 0;
    for (std::int64_t k = task.terms; k > 0; --k) {
        slope = slope * v + double(k) * task.epsilon[k - 1];
        value = (value + task.epsilon[k - 1]) * v;
    }
    return {value, slope};
}

FASTNORM_TARGET_END
