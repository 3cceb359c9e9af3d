// The kernels of softmax and log_softmax.
#pragma once

#include "targets/kernel.h"
#include "tasks/softmax.h"

#define FASTNORM_SOFTMAX(kernel)                           \
    kernel(softmax_forward, SoftmaxForward);               \
    kernel(softmax_backward, SoftmaxBackward);             \
    kernel(log_softmax_forward, SoftmaxForward);           \
    kernel(log_softmax_backward, SoftmaxBackward);         \
    kernel(softmax_backward_from_result, SoftmaxBackward); \
    kernel(log_softmax_backward_from_result, SoftmaxBackward);

FASTNORM_TABLE(SoftmaxKernels, FASTNORM_SOFTMAX)
