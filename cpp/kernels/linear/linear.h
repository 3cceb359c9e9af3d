// linear: y = activation(x W + b), z = x W + b. Backward, z being computed again:
//   dz = dy activation'(z),  dx = dz W^T,  dW = x^T dz,  db = the sums of dz's columns
//
// Each of them is a matrix product (matrix_product.h) but db (column_sums.h): y ends with Finish::activate,
// dz with Finish::gradient, whose `other` is dy.
#pragma once

#include "kernels/linear/activation.h"

FASTNORM_TARGET_BEGIN

// Finish::activate: bias and activation of rows of z, in place; null where there is neither.
template <class C>
Activate<C> linear_finish(const Product& task, bool activates) {
    if (activates && task.activation != Activation::none) return functions_of<C>(task.activation).forward;
    return task.col_bias || task.row_bias ? activate_rows<Activation::none, C> : nullptr;
}

// Finish::gradient: dz of a row from z and dy, which may be the same place.
template <class C>
ActivateBackward<C> linear_gradient(const Product& task) {
    return functions_of<C>(task.activation).backward;
}

FASTNORM_TARGET_END
