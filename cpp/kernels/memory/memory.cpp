#include "kernels/memory/kernels.h"

#include "kernels/memory/embedding_sum.h"

FASTNORM_FILL(MemoryKernels, FASTNORM_MEMORY)
