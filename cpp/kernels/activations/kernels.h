// The kernels of the element-wise activations.
#pragma once

#include "targets/kernel.h"
#include "tasks/activations.h"

#define FASTNORM_ACTIVATIONS(kernel)            \
    kernel(gelu_forward, Elementwise);          \
    kernel(gelu_backward, Elementwise);         \
    kernel(gelu_tanh_forward, Elementwise);     \
    kernel(gelu_tanh_backward, Elementwise);    \
    kernel(gelu_sigmoid_forward, Elementwise);  \
    kernel(gelu_sigmoid_backward, Elementwise); \
    kernel(relu_forward, Elementwise);          \
    kernel(relu_backward, Elementwise);         \
    kernel(sigmoid_forward, Elementwise);       \
    kernel(sigmoid_backward, Elementwise);      \
    kernel(silu_forward, Elementwise);          \
    kernel(silu_backward, Elementwise);         \
    kernel(swish_forward, Elementwise);         \
    kernel(swish_backward, SwishBackward);      \
    kernel(tanh_forward, Elementwise);          \
    kernel(tanh_backward, Elementwise);

FASTNORM_TABLE(ActivationKernels, FASTNORM_ACTIVATIONS)
