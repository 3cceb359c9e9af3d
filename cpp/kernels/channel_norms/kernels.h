// The kernels of batch_norm, group_norm, instance_norm and moments.
#pragma once

#include "targets/kernel.h"
#include "tasks/channel_norms.h"

#define FASTNORM_CHANNEL_NORMS(kernel)            \
    kernel(channel_moments, ChannelForward);      \
    kernel(channel_statistics, ChannelForward);   \
    kernel(channel_apply, ChannelForward);        \
    kernel(channel_norm_forward, ChannelForward); \
    kernel(channel_sums, ChannelBackward);        \
    kernel(channel_slopes, ChannelBackward);      \
    kernel(channel_gradient, ChannelBackward);    \
    kernel(channel_norm_backward, ChannelBackward);

FASTNORM_TABLE(ChannelNormKernels, FASTNORM_CHANNEL_NORMS)
