// The kernels of attention and memory_read.
#pragma once

#include "targets/kernel.h"
#include "tasks/attention.h"

#define FASTNORM_ATTENTION(kernel)                       \
    kernel(attention_forward, Attention);                \
    kernel(attention_backward_heads, AttentionBackward); \
    kernel(attention_backward_query, AttentionBackward); \
    kernel(attention_backward_keys, AttentionBackward);

FASTNORM_TABLE(AttentionKernels, FASTNORM_ATTENTION)
