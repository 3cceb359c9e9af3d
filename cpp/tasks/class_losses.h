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

// What is known of a row of logits z after some of its columns: m is their maximum, t the class of the row.
struct ClassRow {
    double maximum;    // m
    double others;     // the exponentials but that of t, as loops/exponential_rows.h shifts them for m
    double distances;  // sum m - z_j, with label smoothing
    double target;     // z_t, once its column has been met
};

// Cross entropy of rows that are met a few columns at a time: columns [first, last) of them in the compute
// type, `first` a multiple of class_block, all columns in their order by one call or more. The call with the
// last column gives the losses. A call is over rows [begin, end).
constexpr std::int64_t class_block = 512;
struct LinearCrossEntropy {
    void* logits;
    std::int64_t step;  // from row to row, in elements
    std::int64_t first, last, classes;
    const std::int64_t* labels;  // as above
    ClassRow* rows;
    double label_smoothing;
    double* losses;       // one a row, or null
    bool wants_gradient;  // leaves it in place of the logits, which then are all there
    const void* dloss;    // as above
    double scale;
};

// Losses rounded to the element type.
struct RoundLosses {
    const double* losses;
    void* rounded;
};

}  // namespace fastnorm
