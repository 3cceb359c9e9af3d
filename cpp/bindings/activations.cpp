#include "bindings/elementwise.h"
#include "bindings/module.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ElementwiseKernels = Kernels<Elementwise>;

// One thread's time for an element of an op with an exponential, float32 in cache.
constexpr double forward_nanoseconds = 0.4;
constexpr double backward_nanoseconds = 0.5;

// out = f(x).
Outcome unary(const ElementwiseKernels& table, const Call& call, int x_slot, int out_slot) {
    const std::optional<Array> x = as_array(call[x_slot]);
    if (!x) return not_canonical;
    Result y = result_like(*x, call, out_slot, {call[x_slot]});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    const Array arrays[] = {*x, y.array};
    if (!run_elementwise(table, Elementwise(), arrays, 1, 1, y.warm, forward_nanoseconds)) return finished(nullptr);
    return finished(y.object.release());
}

// dx = dy * f'(x).
Outcome unary_backward(const ElementwiseKernels& table, const Call& call, int dy_slot, int x_slot) {
    const std::optional<Array> dy = as_array(call[dy_slot]), x = as_array(call[x_slot]);
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    const Array arrays[] = {*dy, *x, Array{dx.array(), x->element}};
    if (!run_elementwise(table, Elementwise(), arrays, 2, 1, fresh.warm, backward_nanoseconds))
        return finished(nullptr);
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

// Ops of x alone and their backwards.
#define FASTNORM_UNARY_OP(name)                                                                                        \
    PyObject* name(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {                            \
        static const Signature signature(#name, 1, {{"x", nullptr}, {"out", Py_None}});                                \
        const OpFunction run = [](const Call& call) { return unary(kernels().name##_forward, call, 0, 1); };           \
        return call_op(signature, run, args, nargs, kwnames);                                                          \
    }                                                                                                                  \
    PyObject* name##_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {                 \
        static const Signature signature(#name "_backward", 2, {{"dy", nullptr}, {"x", nullptr}});                     \
        const OpFunction run = [](const Call& call) { return unary_backward(kernels().name##_backward, call, 0, 1); }; \
        return call_op(signature, run, args, nargs, kwnames);                                                          \
    }
FASTNORM_UNARY_OP(relu)
FASTNORM_UNARY_OP(sigmoid)
FASTNORM_UNARY_OP(silu)
FASTNORM_UNARY_OP(tanh)
#undef FASTNORM_UNARY_OP

}  // namespace

const PyMethodDef activation_methods[] = {
    FASTNORM_METHOD(gelu, "x, *, approximate='none', out=None"),
    FASTNORM_METHOD(gelu_backward, "dy, x, *, approximate='none'"),
    FASTNORM_METHOD(relu, "x, *, out=None"),
    FASTNORM_METHOD(relu_backward, "dy, x"),
    FASTNORM_METHOD(sigmoid, "x, *, out=None"),
    FASTNORM_METHOD(sigmoid_backward, "dy, x"),
    FASTNORM_METHOD(silu, "x, *, out=None"),
    FASTNORM_METHOD(silu_backward, "dy, x"),
    FASTNORM_METHOD(tanh, "x, *, out=None"),
    FASTNORM_METHOD(tanh_backward, "dy, x"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
