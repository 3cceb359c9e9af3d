#include "kernels/regularisers/kernels.h"

#include "kernels/regularisers/dropout.h"

FASTNORM_FILL(RegulariserKernels, FASTNORM_REGULARISERS)
