// The kernels of memory networks.
#pragma once

#include "targets/kernel.h"
#include "tasks/memory.h"

#define FASTNORM_MEMORY(kernel)          \
    kernel(embedding_sum, EmbeddingSum); \
    kernel(embedding_sum_backward, EmbeddingSumBackward);

FASTNORM_TABLE(MemoryKernels, FASTNORM_MEMORY)
