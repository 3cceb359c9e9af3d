#include "kernels/optim/kernels.h"

#include "kernels/optim/adam.h"
#include "kernels/optim/clip_grad_norm.h"
#include "kernels/optim/lion.h"
#include "kernels/optim/rmsprop.h"
#include "kernels/optim/sgd.h"

FASTNORM_FILL(OptimKernels, FASTNORM_OPTIM)
