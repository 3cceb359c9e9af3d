// The activations of hidden layers, one vector at a time, and the gradient through them.
#pragma once

#include "kernels/gelu.h"
#include "kernels/sigmoid.h"
#include "kernels/silu.h"
#include "kernels/tanh.h"
#include "tasks/mlp.h"

FASTNORM_TARGET_BEGIN

template <MlpActivation kind, class V>
FASTNORM_INLINE V mlp_activation(V z) {
    if constexpr (kind == MlpActivation::relu) return max(broadcast<V>(0), z);  // NaN stays
    if constexpr (kind == MlpActivation::sigmoid) return sigmoid(z);
    if constexpr (kind == MlpActivation::tanh) return tanh(z);
    if constexpr (kind == MlpActivation::gelu) return gelu<Approximation::none>(z);
    if constexpr (kind == MlpActivation::gelu_tanh) return gelu<Approximation::tanh>(z);
    if constexpr (kind == MlpActivation::silu) return silu(z);
    return z;
}

// g f'(z); for relu z may also be f(z).
template <MlpActivation kind, class V>
FASTNORM_INLINE V mlp_gradient(V g, V z) {
    if constexpr (kind == MlpActivation::relu) return select(z > broadcast<V>(0), g, broadcast<V>(0));
    if constexpr (kind == MlpActivation::sigmoid) return g * sigmoid_derivative(z);
    if constexpr (kind == MlpActivation::tanh) return g * tanh_derivative(z);
    if constexpr (kind == MlpActivation::gelu) return g * gelu_derivative<Approximation::none>(z);
    if constexpr (kind == MlpActivation::gelu_tanh) return g * gelu_derivative<Approximation::tanh>(z);
    if constexpr (kind == MlpActivation::silu) return g * silu_derivative(z);
    return g;
}

FASTNORM_TARGET_END
