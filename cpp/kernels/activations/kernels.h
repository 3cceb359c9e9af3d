// The kernels of the element-wise activations.
#pragma once

#include "targets/kernel.h"
#include "tasks/activations.h"

// clang-format off: one op a line
// Ops of x alone: bindings and native tests follow from this list too.
#define FASTNORM_UNARY_ACTIVATIONS(each, argument) \
    FASTNORM_PLAIN_ACTIVATIONS(each, argument) \
    FASTNORM_SIGMOID_ACTIVATIONS(each, argument)
#define FASTNORM_PLAIN_ACTIVATIONS(each, argument) \
    each(argument, hardswish) \
    each(argument, mish) \
    each(argument, relu) \
    each(argument, silu)
// Those whose derivative follows from the result too.
#define FASTNORM_SIGMOID_ACTIVATIONS(each, argument) \
    each(argument, sigmoid) \
    each(argument, tanh)
// Ops of x and up to two numbers.
#define FASTNORM_PARAMETRIC_ACTIVATIONS(each, argument) \
    each(argument, elu) \
    each(argument, leaky_relu) \
    each(argument, softplus)
// clang-format on

#define FASTNORM_FORMS_OF_GELU(each, argument) \
    each(argument, gelu) each(argument, gelu_tanh) each(argument, gelu_sigmoid)

#define FASTNORM_FORWARD_AND_BACKWARD(kernel, name) \
    kernel(name##_forward, Elementwise);            \
    kernel(name##_backward, Elementwise);

#define FASTNORM_BACKWARD_FROM_RESULT(kernel, name) kernel(name##_backward_from_result, Elementwise);

#define FASTNORM_PARAMETRIC_FORWARD_AND_BACKWARD(kernel, name) \
    kernel(name##_forward, ParametricActivation);              \
    kernel(name##_backward, ParametricActivation);

#define FASTNORM_ACTIVATIONS(kernel)                                                  \
    FASTNORM_UNARY_ACTIVATIONS(FASTNORM_FORWARD_AND_BACKWARD, kernel)                 \
    FASTNORM_SIGMOID_ACTIVATIONS(FASTNORM_BACKWARD_FROM_RESULT, kernel)               \
    FASTNORM_FORMS_OF_GELU(FASTNORM_FORWARD_AND_BACKWARD, kernel)                     \
    FASTNORM_PARAMETRIC_ACTIVATIONS(FASTNORM_PARAMETRIC_FORWARD_AND_BACKWARD, kernel) \
    kernel(swish_forward, SwishForward);                                              \
    kernel(swish_backward_rows, SwishBackward);                                       \
    kernel(swish_backward_columns, SwishBackward);

FASTNORM_TABLE(ActivationKernels, FASTNORM_ACTIVATIONS)
