#include "kernels/channel_norms/kernels.h"

#include "kernels/channel_norms/backward.h"

FASTNORM_FILL(ChannelNormKernels, FASTNORM_CHANNEL_NORMS)
