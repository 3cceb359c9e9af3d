// The kernels of cross_entropy, focal_loss and poly_loss: loss and gradient in one pass.
#pragma once

#include "targets/kernel.h"
#include "tasks/class_losses.h"

#define FASTNORM_CLASS_LOSSES(kernel) \
    kernel(class_loss, ClassLoss);    \
    kernel(round_losses, RoundLosses);

FASTNORM_TABLE(ClassLossKernels, FASTNORM_CLASS_LOSSES)
