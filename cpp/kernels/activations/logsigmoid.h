// logsigmoid and its gradient, element by element, are softplus and its gradient with beta = -1, nowhere
// linear by a threshold, and run on its kernels:
//
//   y = log(1/(1 + e^-x)) = -softplus(-x),  dx = dy * sigmoid(-x)
//
// Errors and special values are those of softplus: logsigmoid(-inf) = -inf, logsigmoid(inf) = -0.
#pragma once

#include <limits>

#include "kernels/activations/softplus.h"

FASTNORM_TARGET_BEGIN

template <class V>
FASTNORM_INLINE V logsigmoid(V x) {
    return softplus(x, -1, std::numeric_limits<double>::infinity());
}
template <class V>
FASTNORM_INLINE V logsigmoid_derivative(V x) {
    return softplus_derivative(x, -1, std::numeric_limits<double>::infinity());
}

FASTNORM_TARGET_END
