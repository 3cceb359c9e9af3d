#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/run.h"
#include "plan/softmax.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ForwardKernels = decltype(KernelTable::softmax_forward);
using BackwardKernels = decltype(KernelTable::softmax_backward);

bool as_one_axis(PyObject* slot, int ndim, Axes& axes) {
    return PyLong_CheckExact(slot) && as_axes(slot, ndim, axes);
}

Outcome forward(const ForwardKernels& table, const Call& call) {
    const std::optional<Array> x = as_array(call[0]);
    Axes axes;
    if (!x || !as_one_axis(call[1], x->ndim(), axes)) return not_canonical;
    Reference result;
    std::optional<Array> y;
    bool warm = true;
    if (call[2] != Py_None) {
        y = as_array(call[2]);
        if (!y || !is_valid_out(*y, *x, {call[0]}, call.checked())) return not_canonical;
        Py_INCREF(call.given[2]);
        result = Reference(call.given[2]);
    } else {
        NewArray fresh = new_like(*x);
        if (!fresh.array) return finished(nullptr);
        result = std::move(fresh.array);
        warm = fresh.warm;
        y = Array{result.array(), x->element};
    }
    Geometry geometry;
    SoftmaxForward task;
    const Work work = plan_softmax_forward(task, geometry, *x, *y, axes, warm);
    if (task.shape.cols > 0 && !run_kernel(table[int(x->element)], task, work)) return finished(nullptr);
    return finished(result.release());
}

Outcome backward(const BackwardKernels& table, const Call& call) {
    const std::optional<Array> dy = as_array(call[0]), x = as_array(call[1]);
    Axes axes;
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    if (!as_one_axis(call[2], x->ndim(), axes)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    Geometry geometry;
    SoftmaxBackward task;
    const Work work =
        plan_softmax_backward(task, geometry, *dy, *x, Array{dx.array(), x->element}, axes, fresh.warm);
    if (task.shape.cols > 0 && !run_kernel(table[int(x->element)], task, work)) return finished(nullptr);
    return finished(dx.release());
}

// ---- the Python functions ---------------------------------------------------------------------------------

PyObject* softmax(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "softmax", 1, {{"x", nullptr}, {"axis", PyLong_FromLong(-1)}, {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) { return forward(kernels().softmax_forward, call); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* softmax_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "softmax_backward", 2, {{"dy", nullptr}, {"x", nullptr}, {"axis", PyLong_FromLong(-1)}}
    );
    const OpFunction run = [](const Call& call) { return backward(kernels().softmax_backward, call); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* log_softmax(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "log_softmax", 1, {{"x", nullptr}, {"axis", PyLong_FromLong(-1)}, {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) { return forward(kernels().log_softmax_forward, call); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* log_softmax_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "log_softmax_backward", 2, {{"dy", nullptr}, {"x", nullptr}, {"axis", PyLong_FromLong(-1)}}
    );
    const OpFunction run = [](const Call& call) { return backward(kernels().log_softmax_backward, call); };
    return call_op(signature, run, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef softmax_methods[] = {
    FASTNORM_METHOD(softmax, "x, *, axis=-1, out=None"),
    FASTNORM_METHOD(softmax_backward, "dy, x, *, axis=-1"),
    FASTNORM_METHOD(log_softmax, "x, *, axis=-1, out=None"),
    FASTNORM_METHOD(log_softmax_backward, "dy, x, *, axis=-1"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
