// linear_cross_entropy: which logits are there at a time, and where.
#pragma once

#include "plan/products.h"

namespace fastnorm {

// The loss of logits x W + bias against labels, and its gradients. x and dx are matrices of two axes; bias
// and dbias are contiguous, of the compute type, or null.
struct ClassifierLoss {
    Element element;
    MatrixView x, weight;
    const void* bias;
    const std::int64_t* labels;  // one a row; those that are no class are ignored
    double label_smoothing;
    double* losses;     // one a row, or null
    const void* dloss;  // gradients of the rows' losses in the compute type, or null for 1
    double scale;       // of every gradient
};
struct ClassifierGradients {
    MatrixView dx, dweight;
    void* dbias;
};

// What it takes one thread.
double classifier_loss_nanoseconds(const ClassifierLoss& loss, bool with_gradients);

// False where there is no memory for logits, or where the work was stopped.
bool run_classifier_loss(const ClassifierLoss& loss) noexcept;
bool run_classifier_gradients(const ClassifierLoss& loss, const ClassifierGradients& gradients) noexcept;

}  // namespace fastnorm
