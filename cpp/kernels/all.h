// Every op, for the targets.
#pragma once

#include "kernels/copy.h"
#include "kernels/gelu.h"
#include "kernels/layer_norm.h"
#include "kernels/parameter_gradients.h"
#include "kernels/rms_norm.h"
