// The kernels of networks of dense layers.
#pragma once

#include "targets/kernel.h"
#include "tasks/mlp.h"

#define FASTNORM_MLP(kernel)       \
    kernel(mlp_forward, MlpRows);  \
    kernel(mlp_backward, MlpRows); \
    kernel(mlp_merge, MlpMerge);

FASTNORM_TABLE(MlpKernels, FASTNORM_MLP)
