#include <cmath>

#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "runtime/dispatch.h"
#include "tasks/gates.h"

namespace fastnorm {

namespace {

using GateKernels = Kernels<Gate>;

// A gated unit.
struct Unit {
    const GateKernels& forward;
    const GateKernels& backward;
    ElementCost cost;
    int gate_half = 0;  // of a packed array
};

// The inputs of a gated unit: two arrays of one shape, or the halves of a packed one along an axis.
struct Inputs {
    Array whole;  // where they are packed
    Array gate, up;
    int axis = 0;
    bool is_packed = false;

    // False where the arguments are not canonical.
    bool set(PyObject* gate_slot, PyObject* up_slot, PyObject* axis_slot, int gate_half) {
        const MaybeArray first = as_array(gate_slot);
        if (!first) return false;
        is_packed = up_slot == Py_None;
        if (!is_packed) {
            const MaybeArray second = as_array(up_slot);
            if (!second || second->element != first->element || !same_shape(*first, *second)) return false;
            gate = *first;
            up = *second;
            return PyLong_CheckExact(axis_slot);
        }
        Axes axes;
        if (!as_axis(axis_slot, first->ndim(), axes)) return false;
        axis = axes.axis[0];
        if (first->shape()[axis] % 2 != 0) return false;
        whole = *first;
        gate = whole.half(axis, gate_half);
        up = whole.half(axis, 1 - gate_half);
        return true;
    }
};

// `up` is None where the halves are packed.
struct ForwardArguments {
    Slot gate, up, axis;
    Out out;
    double beta = 1;
};

Outcome forward(const Unit& unit, const ForwardArguments& slots) {
    Inputs inputs;
    if (!inputs.set(slots.gate, slots.up, slots.axis, unit.gate_half)) return not_canonical;
    Result y = result_like(inputs.gate, slots.out, {slots.gate, slots.up});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    const View arrays[] = {inputs.gate, inputs.up, y.array};
    Gate task;
    task.beta = slots.beta;
    if (!run_elementwise(unit.forward, task, arrays, 2, 1, y.warm, unit.cost.forward))
        return finished(nullptr);
    return finished(y.object.release());
}

struct BackwardArguments {
    Slot dy, gate, up, axis;
    double beta = 1;
};

Outcome backward(const Unit& unit, const BackwardArguments& slots) {
    Inputs inputs;
    if (!inputs.set(slots.gate, slots.up, slots.axis, unit.gate_half)) return not_canonical;
    const MaybeArray dy = as_array(slots.dy);
    if (!dy || dy->element != inputs.gate.element || !same_shape(*dy, inputs.gate)) return not_canonical;
    Gate task;
    task.beta = slots.beta;
    if (inputs.is_packed) {
        NewArray gradient = new_like(inputs.whole);
        if (!gradient.array) return finished(nullptr);
        const Array whole(gradient.array.array(), dy->element);
        const Array dgate = whole.half(inputs.axis, unit.gate_half);
        const Array dup = whole.half(inputs.axis, 1 - unit.gate_half);
        const View arrays[] = {*dy, inputs.gate, inputs.up, dgate, dup};
        if (!run_elementwise(unit.backward, task, arrays, 3, 2, gradient.warm, unit.cost.backward))
            return finished(nullptr);
        return finished(gradient.array.release());
    }
    const NewArray dgate = new_like(inputs.gate), dup = new_like(inputs.up);
    if (!dgate.array || !dup.array) return finished(nullptr);
    const Array of_gate(dgate.array.array(), dy->element), of_up(dup.array.array(), dy->element);
    const View arrays[] = {*dy, inputs.gate, inputs.up, of_gate, of_up};
    if (!run_elementwise(unit.backward, task, arrays, 3, 2, dgate.warm && dup.warm, unit.cost.backward))
        return finished(nullptr);
    return finished(PyTuple_Pack(2, dgate.array.get(), dup.array.get()));
}

// geglu in a form of gelu by its name.
std::optional<Unit> geglu_unit(PyObject* approximate) {
    if (!PyUnicode_CheckExact(approximate)) return std::nullopt;
    const KernelTable& all = kernels();
    if (PyUnicode_CompareWithASCIIString(approximate, "none") == 0) {
        return Unit{all.geglu_forward, all.geglu_backward, gate_cost};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "tanh") == 0) {
        return Unit{all.geglu_tanh_forward, all.geglu_tanh_backward, gate_cost};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "sigmoid") == 0) {
        return Unit{all.geglu_sigmoid_forward, all.geglu_sigmoid_backward, gate_cost};
    }
    return std::nullopt;
}

// Where beta is 1, which is usual, swish has a loop of its own.
Unit swiglu_unit(double beta) {
    const KernelTable& all = kernels();
    if (beta == 1) return {all.swiglu_forward, all.swiglu_backward, gate_cost};
    return {all.swiglu_beta_forward, all.swiglu_beta_backward, swish_gate_cost};
}

Unit glu_unit() { return {kernels().glu_forward, kernels().glu_backward, gate_cost, 1}; }
Unit reglu_unit() { return {kernels().reglu_forward, kernels().reglu_backward, linear_gate_cost}; }
Unit bilinear_unit() { return {kernels().bilinear_forward, kernels().bilinear_backward, linear_gate_cost}; }

struct GluArguments {
    FASTNORM_ARGUMENTS(x, axis, out)
};

Outcome glu(const Call<GluArguments>& call) {
    return forward(glu_unit(), {call.x, Py_None, call.axis, out_of(call)});
}

struct GluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, axis)
};

Outcome glu_backward(const Call<GluBackwardArguments>& call) {
    return backward(glu_unit(), {call.dy, call.x, Py_None, call.axis});
}

struct SwigluArguments {
    FASTNORM_ARGUMENTS(gate, up, beta, axis, out)
};

Outcome swiglu(const Call<SwigluArguments>& call) {
    const std::optional<double> beta = as_number(call.beta, -HUGE_VAL);
    if (!beta) return not_canonical;
    return forward(swiglu_unit(*beta), {call.gate, call.up, call.axis, out_of(call), *beta});
}

struct SwigluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, gate, up, beta, axis)
};

Outcome swiglu_backward(const Call<SwigluBackwardArguments>& call) {
    const std::optional<double> beta = as_number(call.beta, -HUGE_VAL);
    if (!beta) return not_canonical;
    return backward(swiglu_unit(*beta), {call.dy, call.gate, call.up, call.axis, *beta});
}

struct GegluArguments {
    FASTNORM_ARGUMENTS(gate, up, approximate, axis, out)
};

Outcome geglu(const Call<GegluArguments>& call) {
    const std::optional<Unit> unit = geglu_unit(call.approximate);
    return unit ? forward(*unit, {call.gate, call.up, call.axis, out_of(call)}) : not_canonical;
}

struct GegluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, gate, up, approximate, axis)
};

Outcome geglu_backward(const Call<GegluBackwardArguments>& call) {
    const std::optional<Unit> unit = geglu_unit(call.approximate);
    return unit ? backward(*unit, {call.dy, call.gate, call.up, call.axis}) : not_canonical;
}

// Gated units without keywords of their own.
struct PlainGateArguments {
    FASTNORM_ARGUMENTS(gate, up, axis, out)
};

template <Unit (*unit)()>
Outcome plain_gate(const Call<PlainGateArguments>& call) {
    return forward(unit(), {call.gate, call.up, call.axis, out_of(call)});
}

struct PlainGateBackwardArguments {
    FASTNORM_ARGUMENTS(dy, gate, up, axis)
};

template <Unit (*unit)()>
Outcome plain_gate_backward(const Call<PlainGateBackwardArguments>& call) {
    return backward(unit(), {call.dy, call.gate, call.up, call.axis});
}

#define FASTNORM_PLAIN_GATE(name) \
    native_op<plain_gate<name##_unit>>(#name), native_op<plain_gate_backward<name##_unit>>(#name "_backward")

}  // namespace

const NativeOp gate_ops[] = {
    FASTNORM_OP(glu),
    FASTNORM_OP(glu_backward),
    FASTNORM_OP(swiglu),
    FASTNORM_OP(swiglu_backward),
    FASTNORM_OP(geglu),
    FASTNORM_OP(geglu_backward),
    FASTNORM_PLAIN_GATE(reglu),
    FASTNORM_PLAIN_GATE(bilinear),
    end_of_ops,
};

}  // namespace fastnorm
