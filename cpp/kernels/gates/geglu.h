// geglu in the three forms of gelu: y = gelu(gate) up.
#pragma once

#include "kernels/gates/gating.h"
#include "kernels/activations/gelu.h"

FASTNORM_TARGET_BEGIN

FASTNORM_GATE(geglu, gelu<Approximation::none>, gelu_derivative<Approximation::none>)
FASTNORM_GATE(geglu_tanh, gelu<Approximation::tanh>, gelu_derivative<Approximation::tanh>)
FASTNORM_GATE(geglu_sigmoid, gelu<Approximation::sigmoid>, gelu_derivative<Approximation::sigmoid>)

FASTNORM_TARGET_END
