// The losses of a training step: dL/dy of a block of rows, and their loss. Those over classes are the kernels
// of the losses; the others, with few outputs beside the products, are plain loops in double.
#pragma once

#include "tasks/mlp.h"

namespace fastnorm {

enum class LossKind : int {
    mse,
    squared_error,
    poisson,
    binary_cross_entropy,
    binary_poly,
    binary_focal,
    cross_entropy,
    poly,
    focal,
};

constexpr bool is_over_classes(LossKind kind) { return int(kind) >= int(LossKind::cross_entropy); }

struct LossContext {
    LossKind kind = LossKind::mse;
    double option = 0;  // epsilon of poly, gamma of focal
    std::int64_t outputs = 0;
    // Targets like the outputs, or null: then classes.
    const char* target = nullptr;
    Element element = Element::float32;  // of the targets: float32 or float64
    std::int64_t row_stride = 0, col_stride = 0;
    const std::int64_t* classes = nullptr;
    const double* sample_weight = nullptr;  // or null: 1 for every row
    const std::int64_t* order = nullptr;    // as in MlpRows
    std::int64_t start = 0;                 // without order: the batch's first row
    double scale = 1;                       // 1 / sum of the batch's weights
};

// The function that MlpRows calls, for outputs of this element type; its context is a LossContext.
MlpLoss loss_function(Element compute);

}  // namespace fastnorm
