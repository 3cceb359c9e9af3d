// Every activation.
#pragma once

#include "kernels/activations/elu.h"
#include "kernels/activations/gelu.h"
#include "kernels/activations/hardswish.h"
#include "kernels/activations/leaky_relu.h"
#include "kernels/activations/logsigmoid.h"
#include "kernels/activations/mish.h"
#include "kernels/activations/relu.h"
#include "kernels/activations/sigmoid.h"
#include "kernels/activations/silu.h"
#include "kernels/activations/softplus.h"
#include "kernels/activations/swish_backward.h"
#include "kernels/activations/tanh.h"
