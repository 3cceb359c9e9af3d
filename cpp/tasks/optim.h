// What the optimisers' kernels are given: one parameter as contiguous elements, its gradient, and its state.
//
// State is of the compute type; the gradient is too where `wide`, else of the parameter's type. Units are
// elements.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

struct SgdUpdate {
    void* parameter;
    const void* gradient;
    bool wide;
    void* velocity;  // null without momentum
    double lr, momentum, weight_decay;
    bool nesterov;
};

struct AdamUpdate {
    void* parameter;
    const void* gradient;
    bool wide;
    void* first;
    void* second;
    double beta1, beta2;
    double step_size;     // lr / (1 - beta1^t)
    double second_scale;  // 1 / sqrt(1 - beta2^t)
    double eps;
    double weight_decay;  // added to the gradient times the parameter
    double
        shrink;  // what the parameter is multiplied by first: 1 - lr * weight decay where that is decoupled
};

struct RmspropUpdate {
    void* parameter;
    const void* gradient;
    bool wide;
    void* square;
    void* mean;      // null unless centred
    void* velocity;  // null without momentum
    double lr, alpha, momentum, eps, weight_decay;
};

struct LionUpdate {
    void* parameter;
    const void* gradient;
    bool wide;
    void* mean;
    double lr, beta1, beta2;
    double shrink;  // 1 - lr * weight decay
};

// Elements whose squares are added up by themselves.
constexpr std::int64_t norm_block = 16384;

// Units are blocks of `norm_block` elements, of each of which the sum of (scale g)^2 goes to `squares`.
struct GradientSquares {
    const void* gradient;
    std::int64_t size;
    double scale;
    double* squares;
};

// The gradient is multiplied where it lies.
struct GradientScale {
    void* gradient;
    double scale;
};

}  // namespace fastnorm
