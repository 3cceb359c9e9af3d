// The losses over classes: cross_entropy, focal_loss and poly_loss.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/class_losses.h"

namespace fastnorm {

// Places the arrays in the task, which the geometry has to outlive, and tells the work. The probabilities are
// null where the targets are labels, the gradient where it is not wanted.
Work plan_class_loss(
    ClassLoss& task, Geometry& geometry, const View& logits, const View* gradient, const View* probabilities,
    const Axes& axis, bool warm
);

// The same for nll_loss, whose targets are labels.
Work plan_nll_loss(
    ClassLoss& task, Geometry& geometry, const View& log_probabilities, const View* gradient,
    const Axes& axis, bool warm
);

// What a mean over labelled rows divides by: the weights of the rows whose label is a class, NaN where all
// are 0, as there is nothing to take a mean of. The weights are of the compute type, or null for 1.
double weight_of_rows(
    const std::int64_t* labels, std::int64_t rows, const void* weight, std::int64_t classes, Element compute
);

// The sum of all weights of classes.
double weight_of_classes(const void* weight, std::int64_t classes, Element compute);

// The sum of the losses of rows, or of segments, in an order that depends on the count alone.
double sum_of(const double* losses, std::int64_t count);

}  // namespace fastnorm
