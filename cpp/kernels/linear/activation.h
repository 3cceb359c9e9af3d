// Bias and activations of rows in the first-level cache, and the derivatives of activations.
#pragma once

#include "kernels/activations/activations.h"
#include "tasks/linear.h"

FASTNORM_TARGET_BEGIN

// The forms of gelu under the names that layers have for them.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> gelu(Vec<T, N> z) {
    return gelu<Approximation::none>(z);
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> gelu_derivative(Vec<T, N> z) {
    return gelu_derivative<Approximation::none>(z);
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> gelu_tanh(Vec<T, N> z) {
    return gelu<Approximation::tanh>(z);
}
template <class T, int N>
FASTNORM_INLINE Vec<T, N> gelu_tanh_derivative(Vec<T, N> z) {
    return gelu_derivative<Approximation::tanh>(z);
}

template <Activation kind, class V>
FASTNORM_INLINE V activate(V z, [[maybe_unused]] element_t<V> beta) {
#define FASTNORM_VALUE(name, is_gate) \
    if constexpr (kind == Activation::name) return name(z);
    FASTNORM_LAYER_ACTIVATIONS(FASTNORM_VALUE)
#undef FASTNORM_VALUE
    if constexpr (kind == Activation::swish) return layer_swish(z, broadcast<V>(beta));
    return z;
}

// dy * activation'(z).
template <Activation kind, class V>
FASTNORM_INLINE V activate_backward(V dy, V z, [[maybe_unused]] element_t<V> beta) {
    if constexpr (kind == Activation::none) {
        return dy;
    } else if constexpr (kind == Activation::relu) {
        return relu_gradient(dy, z);
    } else if constexpr (kind == Activation::leaky_relu) {
        return leaky_relu_gradient(dy, z);
    } else if constexpr (kind == Activation::swish) {
        return dy * layer_swish_derivative(z, broadcast<V>(beta));
    } else {
#define FASTNORM_SLOPE(name, is_gate) \
    if constexpr (kind == Activation::name) return dy * name##_derivative(z);
        FASTNORM_LAYER_ACTIVATIONS(FASTNORM_SLOPE)
#undef FASTNORM_SLOPE
    }
}

// Rows of z, `step` elements apart: a = activation(z + bias). Where a lies elsewhere, z keeps z + bias.
template <class C>
struct ActivatedRows {
    C* z;
    C* a;
    std::int64_t step, rows, cols;
    const C* col_bias;  // one for each column, or for each row, or null
    const C* row_bias;
    C beta;
};
template <class C>
using Activate = void (*)(const ActivatedRows<C>& rows);
// out = dy * activation'(z) over cols elements, a factor of products: 0 where it is subnormal.
template <class C>
using ActivateBackward = void (*)(const C* dy, const C* z, C* out, std::int64_t cols, C beta);

template <Activation kind, class C>
void activate_rows(const ActivatedRows<C>& task) {
    using V = Vec<C, native<C>>;
    const bool keeps_z = task.a != task.z;
    for (std::int64_t i = 0; i < task.rows; ++i) {
        C* z = task.z + i * task.step;
        C* a = task.a + i * task.step;
        const V row_bias = broadcast<V>(task.row_bias ? task.row_bias[i] : C(0));
        for_columns<native<C>>(0, task.cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
            V value = load_columns<V>(static_cast<const C*>(z) + j, part);
            if (task.col_bias) value = value + load_columns<V>(task.col_bias + j, part);
            if (task.row_bias) value = value + row_bias;
            if (keeps_z) store_columns(z + j, value, part);
            store_columns(a + j, activate<kind>(value, task.beta), part);
        });
    }
}
template <Activation kind, class C>
void activate_row_backward(const C* dy, const C* z, C* out, std::int64_t cols, C beta) {
    using V = Vec<C, native<C>>;
    for_columns<native<C>>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
        const V result =
            activate_backward<kind>(load_columns<V>(dy + j, part), load_columns<V>(z + j, part), beta);
        store_columns(out + j, without_subnormals(result), part);
    });
}

// The functions of an activation, both directions.
template <class C>
struct ActivationFunctions {
    Activate<C> forward;
    ActivateBackward<C> backward;
};
template <class C>
ActivationFunctions<C> functions_of(Activation activation) {
    switch (activation) {
#define FASTNORM_ACTIVATION(kind, is_gate) \
    case Activation::kind:                 \
        return {activate_rows<Activation::kind, C>, activate_row_backward<Activation::kind, C>};
        FASTNORM_ACTIVATION(none, false)
        FASTNORM_ACTIVATION(swish, true)
        FASTNORM_LAYER_ACTIVATIONS(FASTNORM_ACTIVATION)
#undef FASTNORM_ACTIVATION
    }
    return {};
}

FASTNORM_TARGET_END
