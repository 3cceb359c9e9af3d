#include "kernels/optim/kernels.h"

#include "kernels/optim/adam.h"
#include "kernels/optim/sgd.h"

FASTNORM_FILL(OptimKernels, FASTNORM_OPTIM)
