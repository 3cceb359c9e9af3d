// glu: y = sigmoid(gate) up, of the halves of one array, up before gate.
#pragma once

#include "kernels/gates/gating.h"
#include "kernels/activations/sigmoid.h"

FASTNORM_TARGET_BEGIN

FASTNORM_GATE(glu, sigmoid, sigmoid_derivative)

FASTNORM_TARGET_END
