#include "plan/softmax.h"

namespace fastnorm {

namespace {

// One thread's time for an element of float32 in cache; float64 takes about four times as long.
constexpr double forward_nanoseconds = 0.35;
constexpr double backward_nanoseconds = 0.45;

// Scratch of one thread is its work rows, and packing space.
Work row_work(const Geometry& geometry, int operands, Element element, double nanoseconds) {
    const Rows& rows = geometry.rows;
    return {
        rows.rows, rows_per_chunk(rows, item_size(element)),
        nanoseconds * (element == Element::float64 ? 4 : 1) * double(rows.rows * rows.cols),
        softmax_work_bytes(rows, item_size(compute_element(element))) +
            packing_bytes(geometry, operands, item_size(element))
    };
}

}  // namespace

Work plan_softmax_forward(
    SoftmaxForward& task, Geometry& geometry, const View& x, const View& y, const Axes& axis, bool warm
) {
    const View* const arrays[] = {&x, &y};
    geometry.set_norm(arrays, 2, axis);
    task.shape = geometry.rows;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.stream = warm && 2 * x.bytes() > stream_bytes && x.data != y.data && task.y.contiguous;
    return row_work(geometry, 2, x.element, forward_nanoseconds);
}

Work plan_softmax_backward(
    SoftmaxBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx,
    const Axes& axis, bool warm
) {
    const View* const arrays[] = {&dy, &x, &dx};
    geometry.set_norm(arrays, 3, axis);
    task.shape = geometry.rows;
    task.dy = geometry.operands[0];
    task.x = geometry.operands[1];
    task.dx = geometry.operands[2];
    task.stream = warm && 3 * x.bytes() > stream_bytes && task.dx.contiguous;
    return row_work(geometry, 3, x.element, backward_nanoseconds);
}

}  // namespace fastnorm
