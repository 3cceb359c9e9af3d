// What the element-wise losses are given.
#pragma once

#include "tasks/elementwise.h"

namespace fastnorm {

// A loss of each element of `x` (predictions or logits) against its target, and its gradient in the same
// pass. The arrays are one row, in C order whatever their layout, so that sums are too. A call covers
// segments [begin, end) of it. Scratch: segment_elements elements for each operand that is not contiguous.
struct ElementwiseLoss {
    // dloss are gradients of the losses, `scale` being that of all where there are none.
    enum Role { x, target, dloss, losses, gradient, roles };

    Rows shape;
    Operand operands[roles];  // data is null for those after the target that are not given or wanted
    double scale;
    double* sums;  // of the losses of each segment, or null
    bool stream;   // write the gradient past the caches
    // Of sigmoid_focal_loss.
    double gamma;
    double epsilon;
    double alpha_of_one, alpha_of_zero;  // weights of the targets 1 and 0
};

}  // namespace fastnorm
