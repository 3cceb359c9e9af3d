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

namespace {

// A block has 4096 elements at least, where there are as many, so that its sum costs little beside them.
// Packed are 16384 at most, which stay in the second-level cache; of arrays with many rows, which memory sets
// the time of, four times as many, so that rows are read in long runs.
void set_loss_blocks(ElementwiseLoss& task) {
    constexpr std::int64_t least = 4096, lanes = 64, many = 2048;
    const Rows& shape = task.shape;
    const std::int64_t most = shape.rows >= many ? 65536 : 16384;
    const std::int64_t most_cols = most / std::clamp<std::int64_t>(shape.rows, 1, tile_rows) / lanes * lanes;
    task.block_cols = std::clamp<std::int64_t>(shape.cols, 1, most_cols);
    const std::int64_t in_tile = tile_rows * task.block_cols;
    task.packed_rows = task.block_rows = tile_rows * ((least + in_tile - 1) / in_tile);
    task.by_rows = shape.rows >= tile_rows && shape.cols % 16 == 0;
    if (task.by_rows) task.block_rows = std::max(task.block_rows, lanes_by_rows.sets);
}

// The axis that the columns of a sum begin with: a channel axis belongs to the rows.
int first_loss_column(int ndim) { return ndim < 2 ? 0 : ndim < 4 ? 1 : 2; }

bool has_columns(const Rows& rows, const Operand& operand, std::int64_t size) {
    std::uintptr_t places = reinterpret_cast<std::uintptr_t>(operand.data);
    for (int i = 0; i < rows.inner_axes; ++i) places |= std::uintptr_t(operand.inner_stride[i]);
    return rows.outer_axes == 1 && operand.outer_stride[0] == size && are_multiples(places, size);
}

}  // namespace

Work plan_elementwise_loss(
    ElementwiseLoss& task, Geometry& geometry, const View* const (&arrays)[ElementwiseLoss::roles], bool adds,
    bool warm, double nanoseconds
) {
    const View* given[ElementwiseLoss::roles];
    int count = 0;
    for (const View* array : arrays) {
        if (array) given[count++] = array;
    }
    const View& x = *arrays[ElementwiseLoss::x];
    const std::int64_t size = x.size(), item = item_size(x.element);
    if (adds) {
        geometry.set_leading(given, count, first_loss_column(x.ndim));
    } else {
        geometry.set_elementwise(given, count);
    }
    task.shape = geometry.rows;
    std::int64_t packed = 0;
    set_loss_blocks(task);
    task.along_columns = adds && task.by_rows;
    for (int role = 0, k = 0; role < ElementwiseLoss::roles; ++role) {
        Operand& operand = task.operands[role] = {nullptr, nullptr, nullptr, true};
        if (!arrays[role]) continue;
        operand = geometry.operands[k++];
        task.along_columns = task.along_columns && has_columns(task.shape, operand, item);
        if (!task.is_dense(operand, task.shape.rows, task.block_cols, item)) ++packed;
    }
    if (packed == 0) task.packed_rows = task.block_rows;
    task.stream = arrays[ElementwiseLoss::gradient] && warm && count * x.bytes() > stream_bytes &&
                  task.operands[ElementwiseLoss::gradient].contiguous;
    return {
        task.blocks(), 1, nanoseconds * (x.element == Element::float64 ? 3 : 1) * double(size),
        packed * item * task.packed_elements()
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
