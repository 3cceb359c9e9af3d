// instance_norm: group_norm with a group for each channel: y = (x - mean) * rstd * weight[channel] +
// bias[channel], one mean and rstd for each sample and channel. Its kernels are those of group_norm. Source:
// Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.
#pragma once

#include "kernels/channel_norms/group_norm.h"
