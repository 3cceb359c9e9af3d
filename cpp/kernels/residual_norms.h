// The ops of residual_norms.inc.
#pragma once

#include "kernels/add_layer_norm.h"
#include "kernels/add_rms_norm.h"
