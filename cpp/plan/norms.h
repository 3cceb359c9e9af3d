// The norms over rows: layer_norm, rms_norm, and those of a sum.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/norms.h"
#include "tasks/residual_norms.h"

namespace fastnorm {

// How many leading columns enter the mean square of rms_norm, for its share of the row.
std::int64_t counted_columns(double fraction, std::int64_t cols);

// Places the arrays in the task, which the geometry has to outlive, and tells the work. `warm`: the result
// may be written past the cache.
Work plan_norm_forward(
    NormForward& task, Geometry& geometry, const View& x, const View& y, const Axes& axes, bool warm
);
Work plan_norm_backward(
    NormBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const Axes& axes,
    bool warm
);

// The arrays of a norm of a sum; those that are null are not wanted, or absent. All have the shape of x.
struct SumArrays {
    const View *x, *residual, *y, *summed;
};
struct SumGradients {
    const View *dy, *dsummed, *x, *residual, *dx, *dresidual;
};
Work plan_add_norm_forward(
    AddNormForward& task, Geometry& geometry, const SumArrays& arrays, const Axes& axes, bool warm
);
Work plan_add_norm_backward(
    AddNormBackward& task, Geometry& geometry, const SumGradients& arrays, const Axes& axes, bool warm
);

// The weight that the backward of a norm which subtracts the mean is given: of a single column 0, or NaN
// where the weight is not finite. There dx is 0 whatever the weight, and rounding would leave something of
// dy. The storage has to outlive the task.
const void* centred_weight(const void* weight, std::int64_t cols, Element element, double& storage);

// The same of `count` weights, null for 1.
void multiply_by_zero(const void* weights, std::int64_t count, Element compute, void* products);

// Adds the partial sums of row blocks, blocks x cols, in the order of the blocks; not where `sums` is null.
bool sum_partials(
    const double* partials, std::int64_t blocks, std::int64_t cols, Element element, void* sums
) noexcept;

// Runs the kernel of a backward over row blocks and adds up dweight and dbias (compute type; null where they
// are not wanted). `norm` is the task or a part of it, whose partials are settled here.
template <class Task>
bool run_norm_backward(
    Kernel<Task> kernel, const Task& task, NormBackward& norm, const Work& work, Element element,
    void* dweight, void* dbias
) noexcept {
    const std::int64_t blocks = work.units, cols = norm.shape.cols;
    const bool accumulate = dweight || dbias;
    Numbers partials(accumulate ? 2 * blocks * cols : 0);
    if (!partials) return false;
    norm.dweight_partials = accumulate ? partials.take(blocks * cols) : nullptr;
    norm.dbias_partials = accumulate ? partials.take(blocks * cols) : nullptr;
    if (blocks == 1) {
        norm.dweight = dweight;
        norm.dbias = dbias;
        return run(kernel, task, work);
    }
    return run(kernel, task, work) && sum_partials(norm.dweight_partials, blocks, cols, element, dweight) &&
           sum_partials(norm.dbias_partials, blocks, cols, element, dbias);
}

}  // namespace fastnorm
