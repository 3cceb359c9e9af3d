// The losses of a training step: dL/dy of a block of rows, and their loss. Those over classes are the kernels
// of the losses; the others, with few outputs beside the products, are plain loops in double.
#pragma once

#include "plan/view.h"
#include "tasks/mlp.h"

namespace fastnorm {

enum class LossKind : int {
    mse,
    squared_error,
    poisson,
    l1,
    huber,
    smooth_l1,
    binary_cross_entropy,  // the sum over the outputs
    binary_poly,
    binary_focal,
    bce,  // the mean
    cross_entropy,
    poly,
    focal,
};

constexpr bool is_over_classes(LossKind kind) { return int(kind) >= int(LossKind::cross_entropy); }

struct TrainingLoss {
    LossKind kind = LossKind::mse;
    double option = 0;  // epsilon of poly, gamma of focal, where the squares of huber and smooth_l1 end
    std::int64_t outputs = 0;
    // Targets like the outputs, or null: then classes.
    const char* target = nullptr;
    Element element = Element::float32;  // of the targets: float32 or float64
    std::int64_t row_stride = 0, col_stride = 0;
    const std::int64_t* classes = nullptr;
    const double* sample_weight = nullptr;  // or null: 1 for every row
    // The rows of a step: numbers of rows of the targets, or null for consecutive ones from `start` on.
    const std::int64_t* order = nullptr;
    std::int64_t start = 0;
    double scale = 1;  // 1 / sum of the batch's weights
};

// Some rows of a batch, at most mlp_block_rows: their outputs, of the compute type, `step` elements from row
// to row, and the gradient with respect to them.
struct OutputRows {
    std::int64_t first, count, step;
    const void* y;
    void* dy;
};

// Scratch of add_loss, aligned to 64 bytes: whole lines.
std::int64_t loss_scratch_bytes(const TrainingLoss& loss, std::int64_t compute_size);

// Writes dL/dy of the rows and adds their losses to `total`, one after the other.
void add_loss(
    const TrainingLoss& loss, std::int64_t compute_size, const OutputRows& rows, void* scratch, double& total
) noexcept;

}  // namespace fastnorm
