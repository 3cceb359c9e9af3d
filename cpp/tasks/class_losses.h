// What the losses are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// A loss over the classes of each row, and its gradient in the same pass. Scratch: a work row in the compute
// type (tasks/softmax.h), and packing space.
struct ClassLoss {
    Rows shape;  // cols are the classes
    Operand logits;
    Operand probabilities;  // the targets, where `labels` is null
    Operand gradient;       // data is null where it is not wanted
    // One a row, read once; rows whose label is no class are ignored: their loss and gradient are 0.
    const std::int64_t* labels;
    const void* weight;  // one a class in the compute type, or null
    double weight_sum;   // of all classes
    double label_smoothing;
    double gamma;           // of focal_loss
    const double* epsilon;  // of poly_loss: `terms` coefficients of (1 - p)^1, (1 - p)^2, ...
    std::int64_t terms;
    const void* dloss;  // gradients of the rows' losses in the compute type, or null for 1
    double scale;       // of every gradient
    double* losses;     // one a row, or null
    bool stream;        // write the gradient past the caches
};

// Losses rounded to the element type.
struct RoundLosses {
    const double* losses;
    void* rounded;
};

}  // namespace fastnorm
