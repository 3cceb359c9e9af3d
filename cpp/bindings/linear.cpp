#include <cmath>

#include "bindings/families.h"
#include "bindings/products.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

bool shares_data(const Array& out, std::initializer_list<PyObject*> inputs) {
    for (PyObject* slot : inputs) {
        const std::optional<Array> input = as_array(slot);
        if (input && input->data() == out.data()) return true;
    }
    return false;
}

// Where a forward writes: `out`, or a new array; where `out` is an input too, a new array that is copied at
// the end.
struct LayerResult {
    Reference returned, written;
    bool canonical = true;

    LayerResult(const Array& x, npy_intp cols, const Out& given, std::initializer_list<PyObject*> inputs) {
        const ResultShape result(x, cols);
        if (given.array != Py_None) {
            const std::optional<Array> out = as_array(given.array);
            canonical = out && is_valid_out(*out, x, x.ndim(), result.shape, inputs, given.checked);
            if (!canonical) return;
            returned = Reference(Py_NewRef(given.given));
            if (!shares_data(*out, inputs)) {
                written = Reference(Py_NewRef(given.array));
                return;
            }
        }
        written = std::move(new_like(x, result.shape).array);
    }
    PyObject* finish() {
        if (!returned) return written.release();
        if (returned.get() != written.get() && PyArray_CopyInto(returned.array(), written.array()) < 0)
            return nullptr;
        return returned.release();
    }
};

// Features of x, the columns of its matrix; nothing where it has no axes.
std::optional<npy_intp> features(const Array& x) {
    if (x.ndim() == 0) return std::nullopt;
    return x.shape()[x.ndim() - 1];
}

struct LinearArguments {
    FASTNORM_ARGUMENTS(x, weight, bias, activation, out)
};

Outcome linear(const Call<LinearArguments>& call) {
    const std::optional<Array> x = as_array(call.x);
    const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
    if (!depth) return not_canonical;
    const std::optional<Array> weight = as_weight(call.weight, *x, *depth);
    const std::optional<Activation> activation = as_activation(call.activation);
    if (!weight || !activation) return not_canonical;
    const npy_intp cols = weight->shape()[1];
    const Parameter bias = as_vector(call.bias, *x, cols);
    if (!bias.canonical) return not_canonical;
    if (bias.failed) return finished(nullptr);
    LayerResult result(*x, cols, out_of(call), {call.x, call.weight, call.bias});
    if (!result.canonical) return not_canonical;
    if (!result.written) return finished(nullptr);

    const MatrixArray a(*x, x->element), b(*weight, x->element);
    const MatrixArray c(Array{result.written.array(), x->element}, x->element);
    Product task = layer_product(a.matrix(), b.matrix(), bias, c.matrix());
    task.activation = *activation;
    if (!run_product(task, x->element)) return finished(nullptr);
    return finished(result.finish());
}

// New arrays for the gradients of weight and bias; false with an error set where there is no memory.
bool new_gradients(LayerGradients& gradients, const Array& x, const Array& weight, const Parameter& bias) {
    const int type_number = compute_type_number(x.element);
    gradients.dweight = new_array(2, weight.shape(), type_number);
    if (bias.array) gradients.dbias = new_array(1, weight.shape() + 1, type_number);
    return gradients.dweight && (!bias.array || gradients.dbias);
}

PyObject* or_none(Reference& reference) { return reference ? reference.release() : Py_NewRef(Py_None); }

struct LinearBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, activation)
};

Outcome linear_backward(const Call<LinearBackwardArguments>& call) {
    const std::optional<Array> dy = as_array(call.dy), x = as_array(call.x);
    const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
    if (!dy || !depth || dy->element != x->element || dy->ndim() != x->ndim()) return not_canonical;
    const std::optional<Array> weight = as_weight(call.weight, *x, *depth);
    const std::optional<Activation> activation = as_activation(call.activation);
    if (!weight || !activation) return not_canonical;
    const npy_intp cols = weight->shape()[1];
    if (!PyArray_CompareLists(dy->shape(), ResultShape(*x, cols).shape, x->ndim())) return not_canonical;
    const Parameter bias = as_vector(call.bias, *x, cols);
    if (!bias.canonical) return not_canonical;
    LayerGradients gradients;
    gradients.dx = std::move(new_like(*x).array);
    if (bias.failed || !gradients.dx || !new_gradients(gradients, *x, *weight, bias))
        return finished(nullptr);

    const MatrixArray dy_matrix(*dy, x->element), x_matrix(*x, x->element),
        weight_matrix(*weight, x->element);
    const bool is_linear = *activation == Activation::none;
    const MatrixBuffer dz_buffer(is_linear ? 0 : x_matrix.rows(), cols, x->element);
    if (!dz_buffer) return finished(PyErr_NoMemory());
    if (!is_linear) {
        Product task = layer_product(x_matrix.matrix(), weight_matrix.matrix(), bias, dz_buffer.matrix());
        task.activation = *activation;
        task.finish = Finish::gradient;
        task.other = dy_matrix.matrix();
        if (!run_product(task, x->element)) return finished(nullptr);
    }
    const Matrix& dz = is_linear ? dy_matrix.matrix() : dz_buffer.matrix();
    const MatrixArray dx(Array{gradients.dx.array(), x->element}, x->element);
    const Product back = layer_product(dz, transposed(weight_matrix.matrix()), {}, dx.matrix());
    if (!run_product(back, x->element) || !weight_gradients(x_matrix.matrix(), dz, x->element, gradients)) {
        return finished(nullptr);
    }
    return finished(
        Py_BuildValue("NNN", gradients.dx.release(), gradients.dweight.release(), or_none(gradients.dbias))
    );
}

// ---- gated_linear: y = gate(x w_gate + b_gate) * (x w_up + b_up) ------------------------------------------

// The arguments that forward and backward share.
struct GatedArguments {
    bool canonical = false, failed = false;
    std::optional<Array> x, w_gate, w_up;
    Parameter b_gate, b_up;
    Activation gate = Activation::none;
    double beta = 1;

    template <class Arguments>
    explicit GatedArguments(const Call<Arguments>& call) {
        x = as_array(call.x);
        const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
        if (!depth) return;
        w_gate = as_weight(call.w_gate, *x, *depth);
        w_up = as_weight(call.w_up, *x, *depth);
        const std::optional<Activation> named = as_gate(call.gate);
        const std::optional<double> scale = as_number(call.beta, -HUGE_VAL);
        if (!w_gate || !w_up || !named || !scale || w_gate->shape()[1] != w_up->shape()[1]) return;
        gate = *named, beta = *scale;
        b_gate = as_vector(call.b_gate, *x, w_gate->shape()[1]);
        b_up = as_vector(call.b_up, *x, w_up->shape()[1]);
        canonical = b_gate.canonical && b_up.canonical;
        failed = b_gate.failed || b_up.failed;
    }
    npy_intp cols() const { return w_gate->shape()[1]; }
};

struct GatedLinearArguments {
    FASTNORM_ARGUMENTS(x, w_gate, w_up, b_gate, b_up, gate, beta, out)
};

Outcome gated_linear(const Call<GatedLinearArguments>& call) {
    const GatedArguments arguments(call);
    if (!arguments.canonical) return not_canonical;
    if (arguments.failed) return finished(nullptr);
    const Array& x = *arguments.x;
    LayerResult result(
        x, arguments.cols(), out_of(call), {call.x, call.w_gate, call.w_up, call.b_gate, call.b_up}
    );
    if (!result.canonical) return not_canonical;
    if (!result.written) return finished(nullptr);
    const MatrixArray a(x, x.element), gate(*arguments.w_gate, x.element), up(*arguments.w_up, x.element);
    const MatrixArray y(Array{result.written.array(), x.element}, x.element);
    const MatrixBuffer gates(a.rows(), arguments.cols(), x.element);
    if (!gates) return finished(PyErr_NoMemory());
    Product task = layer_product(a.matrix(), gate.matrix(), arguments.b_gate, gates.matrix());
    task.activation = arguments.gate, task.beta = arguments.beta;
    if (!run_product(task, x.element)) return finished(nullptr);
    task = layer_product(a.matrix(), up.matrix(), arguments.b_up, y.matrix());
    task.finish = Finish::multiply;
    task.other = gates.matrix();
    if (!run_product(task, x.element)) return finished(nullptr);
    return finished(result.finish());
}

struct GatedLinearBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, w_gate, w_up, b_gate, b_up, gate, beta)
};

// With g = x w_gate + b_gate and u = x w_up + b_up: dg = dy u gate'(g), du = dy gate(g), and the gradients of
// two layers.
Outcome gated_linear_backward(const Call<GatedLinearBackwardArguments>& call) {
    const std::optional<Array> dy = as_array(call.dy);
    const GatedArguments arguments(call);
    if (!dy || !arguments.canonical) return not_canonical;
    if (arguments.failed) return finished(nullptr);
    const Array& x = *arguments.x;
    if (dy->element != x.element || dy->ndim() != x.ndim()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), ResultShape(x, arguments.cols()).shape, x.ndim()))
        return not_canonical;
    LayerGradients gate_gradients, up_gradients;
    Reference dx_array = std::move(new_like(x).array);
    if (!dx_array || !new_gradients(gate_gradients, x, *arguments.w_gate, arguments.b_gate) ||
        !new_gradients(up_gradients, x, *arguments.w_up, arguments.b_up)) {
        return finished(nullptr);
    }
    const MatrixArray a(x, x.element), gate(*arguments.w_gate, x.element), up(*arguments.w_up, x.element);
    const MatrixArray dy_matrix(*dy, x.element), dx(Array{dx_array.array(), x.element}, x.element);
    const MatrixBuffer scaled(a.rows(), arguments.cols(), x.element),
        dg(a.rows(), arguments.cols(), x.element);
    const MatrixBuffer du(a.rows(), arguments.cols(), x.element), dx_of_gate(a.rows(), a.cols(), x.element);
    if (!scaled || !dg || !du || !dx_of_gate) return finished(PyErr_NoMemory());

    Product task = layer_product(a.matrix(), up.matrix(), arguments.b_up, scaled.matrix());
    task.finish = Finish::multiply;
    task.other = dy_matrix.matrix();
    if (!run_product(task, x.element)) return finished(nullptr);
    task = layer_product(a.matrix(), gate.matrix(), arguments.b_gate, du.matrix());
    task.activation = arguments.gate, task.beta = arguments.beta;
    task.finish = Finish::multiply;
    task.other = dy_matrix.matrix();
    if (!run_product(task, x.element)) return finished(nullptr);
    task.c = dg.matrix();
    task.finish = Finish::gradient;
    task.other = scaled.matrix();
    if (!run_product(task, x.element)) return finished(nullptr);

    if (!run_product(
            layer_product(dg.matrix(), transposed(gate.matrix()), {}, dx_of_gate.matrix()), x.element
        )) {
        return finished(nullptr);
    }
    task = layer_product(du.matrix(), transposed(up.matrix()), {}, dx.matrix());
    task.finish = Finish::add;
    task.other = dx_of_gate.matrix();
    if (!run_product(task, x.element) ||
        !weight_gradients(a.matrix(), dg.matrix(), x.element, gate_gradients) ||
        !weight_gradients(a.matrix(), du.matrix(), x.element, up_gradients)) {
        return finished(nullptr);
    }
    return finished(Py_BuildValue(
        "NNNNN", dx_array.release(), gate_gradients.dweight.release(), up_gradients.dweight.release(),
        or_none(gate_gradients.dbias), or_none(up_gradients.dbias)
    ));
}

}  // namespace

const NativeOp linear_ops[] = {
    FASTNORM_OP(linear),
    FASTNORM_OP(linear_backward),
    FASTNORM_OP(gated_linear),
    FASTNORM_OP(gated_linear_backward),
    end_of_ops,
};

}  // namespace fastnorm
