#include "tasks/probabilities.h"

#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/norms.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ForwardKernels = decltype(KernelTable::softmax_forward);
using BackwardKernels = decltype(KernelTable::softmax_backward);

// One thread's time for an element of float32 in cache; float64 takes about four times as long.
constexpr double forward_nanoseconds = 0.35;
constexpr double backward_nanoseconds = 0.45;

bool as_one_axis(PyObject* slot, int ndim, Axes& axes) {
    return PyLong_CheckExact(slot) && as_axes(slot, ndim, axes);
}

// Scratch of one thread: a work row, and packing space for `operands`.
std::size_t scratch_bytes(const Geometry& geometry, int operands, Element element) {
    return std::size_t(
        work_row_bytes(geometry.rows.cols, item_size(compute_element(element))) +
        packing_bytes(geometry, operands, item_size(element))
    );
}

double nanoseconds(const Rows& rows, Element element, double each) {
    return each * (element == Element::float64 ? 4 : 1) * double(rows.rows * rows.cols);
}

struct SoftmaxArguments {
    FASTNORM_ARGUMENTS(x, axis, out)
};

Outcome forward(const ForwardKernels& table, const Call<SoftmaxArguments>& call) {
    const std::optional<Array> x = as_array(call.x);
    Axes axes;
    if (!x || !as_one_axis(call.axis, x->ndim(), axes)) return not_canonical;
    Reference result;
    std::optional<Array> y;
    bool warm = true;
    if (call.out != Py_None) {
        y = as_array(call.out);
        if (!y || !is_valid_out(*y, *x, {call.x}, call.checked)) return not_canonical;
        Py_INCREF(call.given.out);
        result = Reference(call.given.out);
    } else {
        NewArray fresh = new_like(*x);
        if (!fresh.array) return finished(nullptr);
        result = std::move(fresh.array);
        warm = fresh.warm;
        y = Array{result.array(), x->element};
    }
    const Array arrays[] = {*x, *y};
    Geometry geometry;
    geometry.set_norm(arrays, 2, axes);
    const Rows& rows = geometry.rows;
    if (rows.cols == 0) return finished(result.release());
    SoftmaxForward task;
    task.shape = rows;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.stream = warm && 2 * x->bytes() > stream_bytes && x->data() != y->data() && task.y.contiguous;
    if (!run_kernel(
            table[int(x->element)], task, rows.rows, rows_per_chunk(rows, item_size(x->element)),
            nanoseconds(rows, x->element, forward_nanoseconds), scratch_bytes(geometry, 2, x->element)
        )) {
        return finished(nullptr);
    }
    return finished(result.release());
}

struct SoftmaxBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, axis)
};

Outcome backward(const BackwardKernels& table, const Call<SoftmaxBackwardArguments>& call) {
    const std::optional<Array> dy = as_array(call.dy), x = as_array(call.x);
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!as_one_axis(call.axis, x->ndim(), axes)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    const Array arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    Geometry geometry;
    geometry.set_norm(arrays, 3, axes);
    const Rows& rows = geometry.rows;
    if (rows.cols == 0) return finished(dx.release());
    SoftmaxBackward task;
    task.shape = rows;
    task.dy = geometry.operands[0];
    task.x = geometry.operands[1];
    task.dx = geometry.operands[2];
    task.stream = fresh.warm && 3 * x->bytes() > stream_bytes && task.dx.contiguous;
    if (!run_kernel(
            table[int(x->element)], task, rows.rows, rows_per_chunk(rows, item_size(x->element)),
            nanoseconds(rows, x->element, backward_nanoseconds), scratch_bytes(geometry, 3, x->element)
        )) {
        return finished(nullptr);
    }
    return finished(dx.release());
}

Outcome softmax(const Call<SoftmaxArguments>& call) { return forward(kernels().softmax_forward, call); }

Outcome softmax_backward(const Call<SoftmaxBackwardArguments>& call) {
    return backward(kernels().softmax_backward, call);
}

Outcome log_softmax(const Call<SoftmaxArguments>& call) {
    return forward(kernels().log_softmax_forward, call);
}

Outcome log_softmax_backward(const Call<SoftmaxBackwardArguments>& call) {
    return backward(kernels().log_softmax_backward, call);
}

}  // namespace

const NativeOp softmax_ops[] = {
    FASTNORM_OP(softmax),
    FASTNORM_OP(softmax_backward),
    FASTNORM_OP(log_softmax),
    FASTNORM_OP(log_softmax_backward),
    end_of_ops,
};

}  // namespace fastnorm
