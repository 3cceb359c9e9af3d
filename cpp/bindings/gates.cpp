#include <cmath>

#include "bindings/elementwise.h"
#include "bindings/module.h"
#include "runtime/dispatch.h"
#include "tasks/gates.h"

namespace fastnorm {

namespace {

using GateKernels = Kernels<Gate>;

// A gated unit: its kernels, and one thread's time for an element of each in float32 in cache.
struct Unit {
    const GateKernels& forward;
    const GateKernels& backward;
    double forward_nanoseconds;
    double backward_nanoseconds;
    int gate_half = 0;  // of a packed array
};

// The inputs of a gated unit: two arrays of one shape, or the halves of a packed one along an axis.
struct Inputs {
    Array whole;  // where they are packed
    Array gate, up;
    Part parts[2];
    int axis = 0;
    bool is_packed = false;

    Inputs() = default;
    Inputs(const Inputs&) = delete;
    Inputs& operator=(const Inputs&) = delete;

    // False where the arguments are not canonical.
    bool set(PyObject* gate_slot, PyObject* up_slot, PyObject* axis_slot, int gate_half) {
        const std::optional<Array> first = as_array(gate_slot);
        if (!first) return false;
        is_packed = up_slot == Py_None;
        if (!is_packed) {
            const std::optional<Array> second = as_array(up_slot);
            if (!second || second->element != first->element || !same_shape(*first, *second)) return false;
            gate = *first;
            up = *second;
            return PyLong_CheckExact(axis_slot);
        }
        Axes axes;
        if (!PyLong_CheckExact(axis_slot) || !as_axes(axis_slot, first->ndim(), axes)) return false;
        axis = axes.axis[0];
        if (first->shape()[axis] % 2 != 0) return false;
        whole = *first;
        gate = half_of(whole, axis, gate_half, parts[0]);
        up = half_of(whole, axis, 1 - gate_half, parts[1]);
        return true;
    }
};

struct ForwardSlots {
    int gate, up, axis, out;  // up: -1 where the op has no such argument
};

Outcome forward(const Unit& unit, const Call& call, const ForwardSlots& slots, double beta = 1) {
    Inputs inputs;
    PyObject* up = slots.up < 0 ? Py_None : call[slots.up];
    if (!inputs.set(call[slots.gate], up, call[slots.axis], unit.gate_half)) return not_canonical;
    Result y = result_like(inputs.gate, call, slots.out, {call[slots.gate], up});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    const View arrays[] = {inputs.gate, inputs.up, y.array};
    Gate task;
    task.beta = beta;
    if (!run_elementwise(unit.forward, task, arrays, 2, 1, y.warm, unit.forward_nanoseconds))
        return finished(nullptr);
    return finished(y.object.release());
}

struct BackwardSlots {
    int dy, gate, up, axis;
};

Outcome backward(const Unit& unit, const Call& call, const BackwardSlots& slots, double beta = 1) {
    Inputs inputs;
    PyObject* up = slots.up < 0 ? Py_None : call[slots.up];
    if (!inputs.set(call[slots.gate], up, call[slots.axis], unit.gate_half)) return not_canonical;
    const std::optional<Array> dy = as_array(call[slots.dy]);
    if (!dy || dy->element != inputs.gate.element || !same_shape(*dy, inputs.gate)) return not_canonical;
    Gate task;
    task.beta = beta;
    if (inputs.is_packed) {
        NewArray gradient = new_like(inputs.whole);
        if (!gradient.array) return finished(nullptr);
        const Array whole{gradient.array.array(), dy->element};
        Part parts[2];
        const View arrays[] = {
            *dy, inputs.gate, inputs.up, half_of(whole, inputs.axis, unit.gate_half, parts[0]),
            half_of(whole, inputs.axis, 1 - unit.gate_half, parts[1])
        };
        if (!run_elementwise(unit.backward, task, arrays, 3, 2, gradient.warm, unit.backward_nanoseconds))
            return finished(nullptr);
        return finished(gradient.array.release());
    }
    const NewArray dgate = new_like(inputs.gate), dup = new_like(inputs.up);
    if (!dgate.array || !dup.array) return finished(nullptr);
    const View arrays[] = {
        *dy, inputs.gate, inputs.up, Array{dgate.array.array(), dy->element},
        Array{dup.array.array(), dy->element}
    };
    if (!run_elementwise(
            unit.backward, task, arrays, 3, 2, dgate.warm && dup.warm, unit.backward_nanoseconds
        ))
        return finished(nullptr);
    return finished(PyTuple_Pack(2, dgate.array.get(), dup.array.get()));
}

// geglu in a form of gelu by its name.
std::optional<Unit> geglu_unit(PyObject* approximate) {
    if (!PyUnicode_CheckExact(approximate)) return std::nullopt;
    const KernelTable& all = kernels();
    if (PyUnicode_CompareWithASCIIString(approximate, "none") == 0) {
        return Unit{all.geglu_forward, all.geglu_backward, 0.5, 0.9};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "tanh") == 0) {
        return Unit{all.geglu_tanh_forward, all.geglu_tanh_backward, 0.5, 0.9};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "sigmoid") == 0) {
        return Unit{all.geglu_sigmoid_forward, all.geglu_sigmoid_backward, 0.5, 0.9};
    }
    return std::nullopt;
}

// silu, which swish is where beta is 1, has a loop of its own.
Unit swiglu_unit(double beta) {
    const KernelTable& all = kernels();
    if (beta == 1) return {all.swiglu_forward, all.swiglu_backward, 0.5, 0.9};
    return {all.swiglu_beta_forward, all.swiglu_beta_backward, 3, 6};
}

Unit glu_unit() { return {kernels().glu_forward, kernels().glu_backward, 0.5, 0.9, 1}; }
Unit reglu_unit() { return {kernels().reglu_forward, kernels().reglu_backward, 0.3, 0.6}; }
Unit bilinear_unit() { return {kernels().bilinear_forward, kernels().bilinear_backward, 0.3, 0.6}; }

// ---- the Python functions ---------------------------------------------------------------------------------

PyObject* glu(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "glu", 1, {{"x", nullptr}, {"axis", PyLong_FromLong(-1)}, {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) { return forward(glu_unit(), call, {0, -1, 1, 2}); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* glu_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "glu_backward", 2, {{"dy", nullptr}, {"x", nullptr}, {"axis", PyLong_FromLong(-1)}}
    );
    const OpFunction run = [](const Call& call) { return backward(glu_unit(), call, {0, 1, -1, 2}); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* swiglu(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "swiglu", 2,
        {{"gate", nullptr},
         {"up", Py_None},
         {"beta", PyFloat_FromDouble(1)},
         {"axis", PyLong_FromLong(-1)},
         {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<double> beta = as_number(call[2], -HUGE_VAL);
        return beta ? forward(swiglu_unit(*beta), call, {0, 1, 3, 4}, *beta) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* swiglu_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "swiglu_backward", 3,
        {{"dy", nullptr},
         {"gate", nullptr},
         {"up", Py_None},
         {"beta", PyFloat_FromDouble(1)},
         {"axis", PyLong_FromLong(-1)}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<double> beta = as_number(call[3], -HUGE_VAL);
        return beta ? backward(swiglu_unit(*beta), call, {0, 1, 2, 4}, *beta) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* geglu(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "geglu", 2,
        {{"gate", nullptr},
         {"up", Py_None},
         {"approximate", PyUnicode_InternFromString("none")},
         {"axis", PyLong_FromLong(-1)},
         {"out", Py_None}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<Unit> unit = geglu_unit(call[2]);
        return unit ? forward(*unit, call, {0, 1, 3, 4}) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* geglu_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "geglu_backward", 3,
        {{"dy", nullptr},
         {"gate", nullptr},
         {"up", Py_None},
         {"approximate", PyUnicode_InternFromString("none")},
         {"axis", PyLong_FromLong(-1)}}
    );
    const OpFunction run = [](const Call& call) {
        const std::optional<Unit> unit = geglu_unit(call[3]);
        return unit ? backward(*unit, call, {0, 1, 2, 4}) : not_canonical;
    };
    return call_op(signature, run, args, nargs, kwnames);
}

// Gated units without keywords of their own.
#define FASTNORM_PLAIN_GATE(name)                                                                            \
    PyObject* name(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {                  \
        static const Signature signature(                                                                    \
            #name, 2, {{"gate", nullptr}, {"up", Py_None}, {"axis", PyLong_FromLong(-1)}, {"out", Py_None}}  \
        );                                                                                                   \
        const OpFunction run = [](const Call& call) { return forward(name##_unit(), call, {0, 1, 2, 3}); };  \
        return call_op(signature, run, args, nargs, kwnames);                                                \
    }                                                                                                        \
    PyObject* name##_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {       \
        static const Signature signature(                                                                    \
            #name "_backward", 3,                                                                            \
            {{"dy", nullptr}, {"gate", nullptr}, {"up", Py_None}, {"axis", PyLong_FromLong(-1)}}             \
        );                                                                                                   \
        const OpFunction run = [](const Call& call) { return backward(name##_unit(), call, {0, 1, 2, 3}); }; \
        return call_op(signature, run, args, nargs, kwnames);                                                \
    }
FASTNORM_PLAIN_GATE(reglu)
FASTNORM_PLAIN_GATE(bilinear)
#undef FASTNORM_PLAIN_GATE

}  // namespace

const PyMethodDef gate_methods[] = {
    FASTNORM_METHOD(glu, "x, *, axis=-1, out=None"),
    FASTNORM_METHOD(glu_backward, "dy, x, *, axis=-1"),
    FASTNORM_METHOD(swiglu, "gate, up=None, *, beta=1.0, axis=-1, out=None"),
    FASTNORM_METHOD(swiglu_backward, "dy, gate, up=None, *, beta=1.0, axis=-1"),
    FASTNORM_METHOD(geglu, "gate, up=None, *, approximate='none', axis=-1, out=None"),
    FASTNORM_METHOD(geglu_backward, "dy, gate, up=None, *, approximate='none', axis=-1"),
    FASTNORM_METHOD(reglu, "gate, up=None, *, axis=-1, out=None"),
    FASTNORM_METHOD(reglu_backward, "dy, gate, up=None, *, axis=-1"),
    FASTNORM_METHOD(bilinear, "gate, up=None, *, axis=-1, out=None"),
    FASTNORM_METHOD(bilinear_backward, "dy, gate, up=None, *, axis=-1"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
