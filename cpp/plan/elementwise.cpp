#include "plan/elementwise.h"

#include <algorithm>

namespace fastnorm {

Work plan_elementwise(
    Elementwise& task, Geometry& geometry, const View* arrays, int inputs, int results, bool warm,
    double nanoseconds
) {
    const int count = inputs + results;
    const View& out = arrays[inputs];
    const View* views[Geometry::max_operands] = {};
    for (int k = 0; k < count; ++k) views[k] = &arrays[k];
    geometry.set_elementwise(views, count);
    task.shape = geometry.rows;
    task.stream = warm && count * out.bytes() > stream_bytes;
    Work work;
    for (int k = 0; k < count; ++k) {
        task.operands[k] = geometry.operands[k];
        if (!geometry.operands[k].contiguous) {
            work.scratch_bytes += segment_elements * item_size(arrays[k].element);
        }
        // A result that replaces an input is in the cache when it is written.
        if (k < inputs && arrays[k].data == out.data) task.stream = false;
    }
    work.units = task.shape.rows * segments_per_row(task);
    // What repeats is packed once a call of the kernel: swish with one beta, 512 x 768, took two threads 330
    // us, a segment at a time, and one 260.
    if (work.scratch_bytes > 0) work.units_per_chunk = std::clamp<std::int64_t>(work.units / 16, 1, 8);
    const double cost = nanoseconds * (out.element == Element::float64 ? 5 : 1);
    work.nanoseconds = cost * double(task.shape.rows * task.shape.cols);
    return work;
}

Work plan_elementwise_loss(
    ElementwiseLoss& task, Geometry& geometry, const View* const (&arrays)[ElementwiseLoss::roles], bool warm,
    double nanoseconds
) {
    const View* given[ElementwiseLoss::roles];
    int count = 0;
    for (const View* array : arrays) {
        if (array) given[count++] = array;
    }
    geometry.set_leading(given, count, 0);
    task.shape = geometry.rows;
    std::int64_t buffers = 0;
    for (int role = 0, k = 0; role < ElementwiseLoss::roles; ++role) {
        Operand& operand = task.operands[role] = {nullptr, nullptr, nullptr, true};
        if (arrays[role]) operand = geometry.operands[k++];
        if (!operand.contiguous) ++buffers;
    }
    const View& x = *arrays[ElementwiseLoss::x];
    task.stream = arrays[ElementwiseLoss::gradient] && warm && count * x.bytes() > stream_bytes &&
                  task.operands[ElementwiseLoss::gradient].contiguous;
    const std::int64_t size = x.size();
    return {
        (size + segment_elements - 1) / segment_elements, 1,
        nanoseconds * (x.element == Element::float64 ? 3 : 1) * double(size),
        buffers * segment_elements * item_size(x.element)
    };
}

namespace {

// Whether the elements of x along an axis share one of beta.
bool is_shared(const View& beta, const View& x, int axis) {
    const int missing = x.ndim - beta.ndim;
    return axis < missing || beta.shape[axis - missing] == 1;
}

}  // namespace

View broadcast(const View& beta, const View& x, std::ptrdiff_t* strides) {
    const int missing = x.ndim - beta.ndim;
    for (int i = 0; i < x.ndim; ++i) strides[i] = is_shared(beta, x, i) ? 0 : beta.strides[i - missing];
    return {beta.data, beta.element, x.ndim, x.shape, strides, false};
}

Work plan_swish_backward(
    SwishBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const View& beta
) {
    Axes shared;
    for (int i = 0; i < x.ndim; ++i) {
        if (is_shared(beta, x, i)) shared.axis[shared.count++] = i;
    }
    const View* const arrays[] = {&dy, &x, &dx};
    geometry.set_norm(arrays, 3, shared);
    const Rows& rows = task.shape = geometry.rows;
    task.dy = geometry.operands[0];
    task.x = geometry.operands[1];
    task.dx = geometry.operands[2];
    Work work;
    work.units = rows.rows * ((rows.cols + segment_elements - 1) / segment_elements);
    work.units_per_chunk = std::max<std::int64_t>(1, segment_elements / std::max<std::int64_t>(1, rows.cols));
    work.nanoseconds = swish_cost.backward * double(x.size());
    work.scratch_bytes = geometry.all_contiguous(3) ? 0 : 3 * segment_elements * item_size(x.element);
    return work;
}

void sum_shares(
    const double* shares, std::int64_t segments, std::int64_t count, Element compute, void* sums
) {
    for (std::int64_t i = 0; i < count; ++i) {
        double sum = 0;
        for (std::int64_t k = 0; k < segments; ++k) sum += shares[i * segments + k];
        if (compute == Element::float64) {
            static_cast<double*>(sums)[i] = sum;
        } else {
            static_cast<float*>(sums)[i] = float(sum);
        }
    }
}

}  // namespace fastnorm
