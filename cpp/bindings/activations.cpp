#include "bindings/arrays.h"
#include "bindings/module.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ElementwiseKernels = decltype(KernelTable::gelu_forward);

// One thread's time for an element of an op with an exponential, float32 in cache; float64 takes about five times as
// long.
constexpr double forward_nanoseconds = 0.4;
constexpr double backward_nanoseconds = 0.5;

// The last of the arrays is the result; `warm` as in NewArray.
bool run_elementwise(const ElementwiseKernels& table, const Array* arrays, int count, bool warm, double nanoseconds) {
    Geometry geometry;
    geometry.set_elementwise(arrays, count);
    const Array& out = arrays[count - 1];
    Elementwise task;
    task.shape = geometry.rows;
    task.a = geometry.operands[0];
    task.b = geometry.operands[count - 2];
    task.out = geometry.operands[count - 1];
    task.stream = warm && count * out.bytes() > stream_bytes && arrays[0].data() != out.data();
    std::int64_t scratch = 0;
    for (int k = 0; k < count; ++k) {
        if (!geometry.operands[k].contiguous) scratch += segment_elements * item_size(out.element);
    }
    const std::int64_t segments = task.shape.rows * segments_per_row(task);
    const double cost = nanoseconds * (out.element == Element::float64 ? 5 : 1);
    return run_kernel(table[int(out.element)], task, segments, 1, cost * double(out.size()), std::size_t(scratch));
}

// out = f(x).
Outcome unary(const ElementwiseKernels& table, const Call& call, int x_slot, int out_slot) {
    const std::optional<Array> x = as_array(call[x_slot]);
    if (!x) return not_canonical;
    Reference result;
    std::optional<Array> y;
    bool warm = true;
    if (call[out_slot] != Py_None) {
        y = as_array(call[out_slot]);
        if (!y || !is_valid_out(*y, *x, {call[x_slot]}, call.checked())) return not_canonical;
        Py_INCREF(call.given[out_slot]);
        result = Reference(call.given[out_slot]);
    } else {
        NewArray fresh = new_like(*x);
        if (!fresh.array) return finished(nullptr);
        result = std::move(fresh.array);
        warm = fresh.warm;
        y = Array{result.array(), x->element};
    }
    const Array arrays[] = {*x, *y};
    if (!run_elementwise(table, arrays, 2, warm, forward_nanoseconds)) return finished(nullptr);
    return finished(result.release());
}

// dx = dy * f'(x).
Outcome unary_backward(const ElementwiseKernels& table, const Call& call, int dy_slot, int x_slot) {
    const std::optional<Array> dy = as_array(call[dy_slot]), x = as_array(call[x_slot]);
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    const Array arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    if (!run_elementwise(table, arrays, 3, fresh.warm, backward_nanoseconds)) return finished(nullptr);
    return finished(dx.release());
}

struct GeluKernels {
    const ElementwiseKernels& forward;
    const ElementwiseKernels& backward;
};

// The kernels of a form of gelu by its name.
std::optional<GeluKernels> gelu_kernels(PyObject* approximate) {
    if (!PyUnicode_CheckExact(approximate)) return std::nullopt;
    const KernelTable& all = kernels();
    if (PyUnicode_CompareWithASCIIString(approximate, "none") == 0)
        return GeluKernels{all.gelu_forward, all.gelu_backward};
    if (PyUnicode_CompareWithASCIIString(approximate, "tanh") == 0) {
        return GeluKernels{all.gelu_tanh_forward, all.gelu_tanh_backward};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "sigmoid") == 0) {
        return GeluKernels{all.gelu_sigmoid_forward, all.gelu_sigmoid_backward};
    }
    return std::nullopt;
}

// ---- the Python functions ------------------------------------------------------------------------------------------

PyObject* gelu(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "gelu", 1, {{"x", nullptr}, {"approximate", PyUnicode_InternFromString("none")}, {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<GeluKernels> form = gelu_kernels(call[1]);
        return form ? unary(form->forward, call, 0, 2) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* gelu_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "gelu_backward", 2, {{"dy", nullptr}, {"x", nullptr}, {"approximate", PyUnicode_InternFromString("none")}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<GeluKernels> form = gelu_kernels(call[2]);
        return form ? unary_backward(form->backward, call, 0, 1) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef activation_methods[] = {
    FASTNORM_METHOD(gelu, "x, *, approximate='none', out=None"),
    FASTNORM_METHOD(gelu_backward, "dy, x, *, approximate='none'"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
