#include "plan/norms.h"

#include <algorithm>
#include <cmath>

#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, by which the number of threads is chosen: 512 x 768, float32, one Ice
// Lake core (rms_norm, and layer_norm_backward). A guess of 0.2 left a second thread asleep there: 160 us
// instead of 78.
constexpr double forward_nanoseconds = 0.33;
constexpr double backward_nanoseconds = 0.55;
constexpr double sum_nanoseconds = 0.1;  // of x + alpha * residual, besides
constexpr double partial_nanoseconds = 0.1;
// Arrays of more bytes go past the caches: fewer than elsewhere, as a norm reads and writes in one loop.
// layer_norm of 2048 x 1024 with `out`, 16 MiB in all, one Zen 4 core: 0.80 ms through the caches and 0.62
// past them.
constexpr std::int64_t norm_stream_bytes = std::int64_t(8) << 20;

double elements(const Rows& rows) { return double(rows.rows * rows.cols); }

Work forward_work(const Geometry& geometry, int operands, Element element, double nanoseconds) {
    const Rows& rows = geometry.rows;
    const std::int64_t size = item_size(element);
    return {
        rows.rows, rows_per_chunk(rows, size), nanoseconds * elements(rows),
        packing_bytes(geometry, operands, size) +
            whole_parameters_bytes(rows, item_size(compute_element(element)))
    };
}

Work backward_work(
    NormBackward& norm, const Geometry& geometry, int operands, Element element, double nanoseconds
) {
    const Rows& rows = norm.shape = geometry.rows;
    norm.block_rows = rows_per_block(rows.rows);
    const std::int64_t sums = parameter_sums_bytes(rows.cols, item_size(compute_element(element)));
    return {
        (rows.rows + norm.block_rows - 1) / norm.block_rows, 1, nanoseconds * elements(rows),
        packing_bytes(geometry, operands, item_size(element)) + sums
    };
}

}  // namespace

std::int64_t counted_columns(double fraction, std::int64_t cols) {
    return std::max<std::int64_t>(std::int64_t(std::ceil(double(cols) * fraction)), 1);
}

Work plan_norm_forward(
    NormForward& task, Geometry& geometry, const View& x, const View& y, const Axes& axes, bool warm
) {
    const View* const arrays[] = {&x, &y};
    geometry.set_norm(arrays, 2, axes);
    task.shape = geometry.rows;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.stream = warm && 2 * x.bytes() > norm_stream_bytes && x.data != y.data && task.y.contiguous;
    return forward_work(geometry, 2, x.element, forward_nanoseconds);
}

Work plan_norm_backward(
    NormBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const Axes& axes,
    bool warm
) {
    const View* const arrays[] = {&dy, &x, &dx};
    geometry.set_norm(arrays, 3, axes);
    task.dy = geometry.operands[0];
    task.x = geometry.operands[1];
    task.dx = geometry.operands[2];
    task.stream = warm && 3 * x.bytes() > norm_stream_bytes && task.dx.contiguous;
    return backward_work(task, geometry, 3, x.element, backward_nanoseconds);
}

Work plan_add_norm_forward(
    AddNormForward& task, Geometry& geometry, const SumArrays& given, const Axes& axes, bool warm
) {
    const View& x = *given.x;
    const int count = given.summed ? 4 : 3;
    const View* const arrays[] = {given.x, given.residual, given.y, given.summed};
    geometry.set_norm(arrays, count, axes);
    const auto replaces = [&](const View* result) {
        return result && (result->data == x.data || result->data == given.residual->data);
    };
    task.norm.shape = geometry.rows;
    task.norm.x = geometry.operands[0];
    task.residual = geometry.operands[1];
    task.norm.y = geometry.operands[2];
    task.summed = given.summed ? geometry.operands[3] : Operand{nullptr, nullptr, nullptr, true};
    task.replaces = replaces(given.summed);
    task.norm.stream = warm && count * x.bytes() > norm_stream_bytes && !replaces(given.y) &&
                       !task.replaces && task.norm.y.contiguous && task.summed.contiguous;
    task.norm.counted = geometry.rows.cols;
    task.norm.mean = task.norm.rstd = nullptr;
    Work work = forward_work(geometry, count, x.element, forward_nanoseconds + sum_nanoseconds);
    work.scratch_bytes +=
        summed_bytes(geometry.rows.rows, geometry.rows.cols, item_size(compute_element(x.element)));
    return work;
}

Work plan_add_norm_backward(
    AddNormBackward& task, Geometry& geometry, const SumGradients& given, const Axes& axes, bool warm
) {
    const View& x = *given.x;
    // An absent gradient is described by x, which it then is not read from.
    const View* const arrays[] = {
        given.x,
        given.residual,
        given.dx,
        given.dresidual,
        given.dy ? given.dy : given.x,
        given.dsummed ? given.dsummed : given.x
    };
    geometry.set_norm(arrays, 6, axes);
    NormBackward& norm = task.norm;
    norm.x = geometry.operands[0];
    task.residual = geometry.operands[1];
    norm.dx = geometry.operands[2];
    task.dresidual = geometry.operands[3];
    norm.dy = geometry.operands[4];
    task.dsummed = geometry.operands[5];
    if (!given.dy) norm.dy.data = nullptr;
    if (!given.dsummed) task.dsummed.data = nullptr;
    norm.stream =
        warm && 5 * x.bytes() > norm_stream_bytes && norm.dx.contiguous && task.dresidual.contiguous;
    norm.counted = geometry.rows.cols;
    norm.mean = norm.rstd = nullptr;
    Work work = backward_work(norm, geometry, 6, x.element, backward_nanoseconds + sum_nanoseconds);
    work.scratch_bytes +=
        summed_bytes(geometry.rows.rows, geometry.rows.cols, item_size(compute_element(x.element)));
    return work;
}

namespace {

template <class S>
void multiply_by_zero_as(const S* weights, std::int64_t count, S* products) {
    for (std::int64_t i = 0; i < count; ++i) products[i] = weights ? weights[i] * 0 : 0;
}

}  // namespace

void multiply_by_zero(const void* weights, std::int64_t count, Element compute, void* products) {
    if (compute == Element::float64) {
        multiply_by_zero_as(static_cast<const double*>(weights), count, static_cast<double*>(products));
    } else {
        multiply_by_zero_as(static_cast<const float*>(weights), count, static_cast<float*>(products));
    }
}

const void* centred_weight(const void* weight, std::int64_t cols, Element element, double& storage) {
    if (cols != 1) return weight;
    multiply_by_zero(weight, 1, compute_element(element), &storage);
    return &storage;
}

bool sum_partials(
    const double* partials, std::int64_t blocks, std::int64_t cols, Element element, void* sums
) noexcept {
    if (!sums) return true;
    const PartialSums task{partials, blocks, cols, sums};
    return run(
        kernels().sum_partials[int(element)], task,
        {cols, 1024, partial_nanoseconds * double(blocks * cols), 0}
    );
}

}  // namespace fastnorm
