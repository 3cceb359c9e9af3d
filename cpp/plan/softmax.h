// softmax and log_softmax.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/softmax.h"

namespace fastnorm {

// Place the arrays in the task, which the geometry has to outlive, and tell the work. `warm`: the result may
// be written past the cache.
Work plan_softmax_forward(
    SoftmaxForward& task, Geometry& geometry, const View& x, const View& y, const Axes& axis, bool warm
);
Work plan_softmax_backward(
    SoftmaxBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx,
    const Axes& axis, bool warm
);

}  // namespace fastnorm
