// The ops of norms.inc.
#pragma once

#include "kernels/layer_norm.h"
#include "kernels/move_rows.h"
#include "kernels/parameter_gradients.h"
#include "kernels/rms_norm.h"
