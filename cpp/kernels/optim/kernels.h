// The kernels of the optimisers.
#pragma once

#include "targets/kernel.h"
#include "tasks/optim.h"

#define FASTNORM_OPTIM(kernel)     \
    kernel(sgd_update, SgdUpdate); \
    kernel(adam_update, AdamUpdate);

FASTNORM_TABLE(OptimKernels, FASTNORM_OPTIM)
