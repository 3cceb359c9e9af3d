// The kernels of the optimisers and of clipping.
#pragma once

#include "targets/kernel.h"
#include "tasks/optim.h"

#define FASTNORM_OPTIM(kernel)                 \
    kernel(sgd_update, SgdUpdate);             \
    kernel(adam_update, AdamUpdate);           \
    kernel(rmsprop_update, RmspropUpdate);     \
    kernel(lion_update, LionUpdate);           \
    kernel(gradient_squares, GradientSquares); \
    kernel(scale_gradient, GradientScale);

FASTNORM_TABLE(OptimKernels, FASTNORM_OPTIM)
