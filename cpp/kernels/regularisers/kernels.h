// The kernels of regularisation.
#pragma once

#include "targets/kernel.h"
#include "tasks/regularisers.h"

#define FASTNORM_REGULARISERS(kernel) kernel(dropout, Dropout);

FASTNORM_TABLE(RegulariserKernels, FASTNORM_REGULARISERS)
