// sigmoid_focal_loss: poly_focal_loss with epsilon = 0. With p = sigmoid(z), u the probability of the other
// class, l the cross entropy and w the weight of the target:
//   loss = w u^gamma l,  dz = w u^gamma (gamma l / u du/dz + p - y)
// Source: Lin et al., "Focal Loss for Dense Object Detection", 2017.
#pragma once

#include "kernels/elementwise_losses/poly_focal_loss.h"

FASTNORM_TARGET_BEGIN

template <class T>
void sigmoid_focal_loss(const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    poly_focal_loss<T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
