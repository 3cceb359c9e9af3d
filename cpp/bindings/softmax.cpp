#include "bindings/arrays.h"
#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/run.h"
#include "plan/softmax.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ForwardKernels = decltype(KernelTable::softmax_forward);
using BackwardKernels = decltype(KernelTable::softmax_backward);

struct SoftmaxArguments {
    FASTNORM_ARGUMENTS(x, axis, out)
};

Outcome forward(const ForwardKernels& table, const Call<SoftmaxArguments>& call) {
    const MaybeArray x = as_array(call.x);
    Axes axes;
    if (!x || !as_axes(call.axis, x->ndim(), axes)) return not_canonical;
    Result y = result_like(*x, out_of(call), {call.x});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    Geometry geometry;
    SoftmaxForward task;
    const Work work = plan_softmax_forward(task, geometry, *x, y.array, axes, y.warm);
    if (task.shape.cols > 0 && !run_kernel(table[int(x->element)], task, work)) return finished(nullptr);
    return finished(y.object.release());
}

struct SoftmaxBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, axis, y)
};

// From x, or from y where that is given.
Outcome backward(
    const BackwardKernels& from_x, const BackwardKernels& from_result,
    const Call<SoftmaxBackwardArguments>& call
) {
    const MaybeArray dy = as_array(call.dy), x = as_array(call.x);
    const bool has_result = call.y != Py_None;
    const MaybeArray y = has_result ? as_array(call.y) : x;
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!y || y->element != x->element || !same_shape(*y, *x)) return not_canonical;
    if (!as_axes(call.axis, x->ndim(), axes)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    Geometry geometry;
    SoftmaxBackward task;
    const Array written(dx.array(), x->element);
    const Work work = plan_softmax_backward(task, geometry, *dy, *y, written, axes, fresh.warm);
    const BackwardKernels& table = has_result ? from_result : from_x;
    if (task.shape.cols > 0 && !run_kernel(table[int(x->element)], task, work)) return finished(nullptr);
    return finished(dx.release());
}

Outcome softmax(const Call<SoftmaxArguments>& call) { return forward(kernels().softmax_forward, call); }

Outcome softmax_backward(const Call<SoftmaxBackwardArguments>& call) {
    return backward(kernels().softmax_backward, kernels().softmax_backward_from_result, call);
}

Outcome log_softmax(const Call<SoftmaxArguments>& call) {
    return forward(kernels().log_softmax_forward, call);
}

Outcome log_softmax_backward(const Call<SoftmaxBackwardArguments>& call) {
    return backward(kernels().log_softmax_backward, kernels().log_softmax_backward_from_result, call);
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
