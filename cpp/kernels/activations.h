// The ops of activations.inc.
#pragma once

#include "kernels/copy.h"
#include "kernels/gelu.h"
#include "kernels/relu.h"
#include "kernels/sigmoid.h"
#include "kernels/silu.h"
#include "kernels/swish.h"
#include "kernels/tanh.h"
