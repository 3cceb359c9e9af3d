// The ops of elementwise_losses.inc.
#pragma once

#include "kernels/mse_loss.h"
#include "kernels/sigmoid_focal_loss.h"
