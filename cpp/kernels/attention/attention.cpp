#include "kernels/attention/kernels.h"

#include "kernels/attention/attention.h"
#include "kernels/attention/backward.h"

FASTNORM_FILL(AttentionKernels, FASTNORM_ATTENTION)
