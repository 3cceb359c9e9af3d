// The kernel of rotary_embedding, forward and backward. (embedding computes nothing: see plan/embeddings.h.)
#pragma once

#include "targets/kernel.h"
#include "tasks/embeddings.h"

#define FASTNORM_EMBEDDINGS(kernel) kernel(rotary_embedding, Rotation);

FASTNORM_TABLE(EmbeddingKernels, FASTNORM_EMBEDDINGS)
