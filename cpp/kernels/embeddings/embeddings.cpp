#include "kernels/embeddings/kernels.h"

#include "kernels/embeddings/rotary_embedding.h"

FASTNORM_FILL(EmbeddingKernels, FASTNORM_EMBEDDINGS)
