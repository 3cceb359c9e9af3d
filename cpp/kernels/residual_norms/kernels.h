// The kernels of the norms of a sum.
#pragma once

#include "targets/kernel.h"
#include "tasks/residual_norms.h"

#define FASTNORM_RESIDUAL_NORMS(kernel)               \
    kernel(add_layer_norm_forward, AddNormForward);   \
    kernel(add_layer_norm_backward, AddNormBackward); \
    kernel(add_rms_norm_forward, AddNormForward);     \
    kernel(add_rms_norm_backward, AddNormBackward);   \
    kernel(deep_norm_forward, AddNormForward);        \
    kernel(deep_norm_backward, AddNormBackward);

FASTNORM_TABLE(ResidualNormKernels, FASTNORM_RESIDUAL_NORMS)
