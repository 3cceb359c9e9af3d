// Regularisation: dropout.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/regularisers.h"

namespace fastnorm {

// The levels that a share p drops, and the factor of what is left.
std::int64_t dropped_levels(double p);
double dropout_scale(std::int64_t dropped);

// Places x and y, of one shape and type, in the task, and turns the share p that is dropped into levels and
// the scale of what is left. `warm`: y may be written past the cache.
Work plan_dropout(Dropout& task, Geometry& geometry, const View& x, const View& y, double p, bool warm);

}  // namespace fastnorm
