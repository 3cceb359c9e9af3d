#include "kernels/attention/kernels.h"

#include "kernels/attention/attention.h"
#include "kernels/attention/memory_read.h"

FASTNORM_FILL(AttentionKernels, FASTNORM_ATTENTION)
