// What the kernels of the element-wise activations are given.
#pragma once

#include "tasks/elementwise.h"

namespace fastnorm {

// The gradients of swish: the rows are the elements of beta, of the compute type, the columns the elements of
// x that share one. A call covers segments [begin, end) as in Elementwise; each leaves its share of dbeta in
// dbeta_shares.
struct SwishBackward {
    Rows shape;
    Operand dy, x, dx;
    const void* beta;
    double* dbeta_shares;
};

// x and y, or dy, x and dx, and the numbers that an op has beside x, in the order of its signature; they are
// rounded to the compute type.
struct ParametricActivation : Elementwise {
    double parameters[2] = {};
};

}  // namespace fastnorm
