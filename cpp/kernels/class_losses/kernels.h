// The kernels of cross_entropy, focal_loss and poly_loss, and of nll_loss, loss and gradient in one pass, and
// the one that linear_cross_entropy has between its products.
#pragma once

#include "targets/kernel.h"
#include "tasks/class_losses.h"

#define FASTNORM_CLASS_LOSSES(kernel)                 \
    kernel(class_loss, ClassLoss);                    \
    kernel(linear_cross_entropy, LinearCrossEntropy); \
    kernel(nll_loss, ClassLoss);                      \
    kernel(round_losses, RoundLosses);

FASTNORM_TABLE(ClassLossKernels, FASTNORM_CLASS_LOSSES)
