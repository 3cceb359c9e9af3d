// The kernels of layer_norm and rms_norm.
#pragma once

#include "targets/kernel.h"
#include "tasks/norms.h"

#define FASTNORM_NORMS(kernel)                 \
    kernel(layer_norm_forward, NormForward);   \
    kernel(layer_norm_backward, NormBackward); \
    kernel(rms_norm_forward, NormForward);     \
    kernel(rms_norm_backward, NormBackward);   \
    kernel(sum_partials, PartialSums);

FASTNORM_TABLE(NormKernels, FASTNORM_NORMS)
