// Element-wise ops: activations, gates and losses of each element.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/activations.h"
#include "tasks/elementwise_losses.h"

namespace fastnorm {

// Places the arrays in the task, which the geometry has to outlive: `inputs` inputs, then results, all of one
// shape and type. `warm`: the results may be written past the cache. A kernel takes one thread `nanoseconds`
// for an element in float32, and about five times as long in float64.
Work plan_elementwise(
    Elementwise& task, Geometry& geometry, const View* arrays, int inputs, int results, bool warm,
    double nanoseconds
);

// The same for a loss, by its roles; null where one is not given or wanted. float64 takes three times as
// long.
Work plan_elementwise_loss(
    ElementwiseLoss& task, Geometry& geometry, const View* const (&arrays)[ElementwiseLoss::roles], bool warm,
    double nanoseconds
);

// The gradients of swish, whose rows are the elements of beta: `shared` are the axes along which elements of
// x share one.
Work plan_swish_backward(
    SwishBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const Axes& shared
);

// dbeta, of the compute type, from the shares of the segments of each of its elements, in their order.
void sum_shares(const double* shares, std::int64_t segments, std::int64_t count, Element compute, void* sums);

}  // namespace fastnorm
