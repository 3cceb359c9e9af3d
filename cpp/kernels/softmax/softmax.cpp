#include "kernels/softmax/kernels.h"

#include "kernels/softmax/log_softmax.h"
#include "kernels/softmax/softmax.h"

FASTNORM_FILL(SoftmaxKernels, FASTNORM_SOFTMAX)
