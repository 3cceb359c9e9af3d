#include "kernels/channel_norms/kernels.h"

#include "kernels/channel_norms/batch_norm.h"
#include "kernels/channel_norms/group_norm.h"
#include "kernels/channel_norms/instance_norm.h"
#include "kernels/channel_norms/moments.h"

FASTNORM_FILL(ChannelNormKernels, FASTNORM_CHANNEL_NORMS)
