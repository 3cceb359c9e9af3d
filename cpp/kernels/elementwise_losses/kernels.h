// The kernels of the element-wise losses: loss and gradient in one pass.
#pragma once

#include "targets/kernel.h"
#include "tasks/elementwise_losses.h"

#define FASTNORM_ELEMENTWISE_LOSSES(kernel)      \
    kernel(bce_with_logits, ElementwiseLoss);    \
    kernel(huber_loss, ElementwiseLoss);         \
    kernel(kl_div, ElementwiseLoss);             \
    kernel(mse_loss, ElementwiseLoss);           \
    kernel(sigmoid_focal_loss, ElementwiseLoss); \
    kernel(poly_focal_loss, ElementwiseLoss);

FASTNORM_TABLE(ElementwiseLossKernels, FASTNORM_ELEMENTWISE_LOSSES)
