// The ops of channel_norms.inc.
#pragma once

#include "kernels/channel_norm.h"
#include "kernels/channel_norm_backward.h"
