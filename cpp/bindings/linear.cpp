#include <cmath>

#include "bindings/families.h"
#include "bindings/dense.h"
#include "bindings/overlap.h"
#include "bindings/run.h"
#include "plan/linear.h"

namespace fastnorm {

namespace {

bool shares_data(const Array& out, std::initializer_list<PyObject*> inputs) {
    for (PyObject* slot : inputs) {
        const MaybeArray input = as_array(slot);
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
            const MaybeArray out = as_array(given.array);
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

// What a result may overlap: not the panels of a packed weight, which no array shows.
PyObject* memory_of(const Array& weight, PyObject* slot) { return weight.in_panels() ? Py_None : slot; }

// Features of x, the columns of its matrix; nothing where it has no axes.
std::optional<npy_intp> features(const Array& x) {
    if (x.ndim() == 0) return std::nullopt;
    return x.shape()[x.ndim() - 1];
}

struct LinearArguments {
    FASTNORM_ARGUMENTS(x, weight, bias, activation, out)
};

Outcome linear(const Call<LinearArguments>& call) {
    MaybeArray x = as_array(call.x);
    const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
    if (!depth) return not_canonical;
    MaybeArray weight = as_weight(call.weight, *x, *depth, Packed::taken);
    const std::optional<Activation> activation = as_activation(call.activation);
    if (!weight || !activation) return not_canonical;
    const npy_intp cols = weight->shape()[1];
    const Parameter bias = as_vector(call.bias, *x, *weight);
    if (!bias.canonical) return not_canonical;
    if (bias.failed) return finished(nullptr);
    LayerResult result(*x, cols, out_of(call), {call.x, memory_of(*weight, call.weight), call.bias});
    if (!result.canonical) return not_canonical;
    if (!result.written) return finished(nullptr);

    const Element e = x->element;
    const Layer layer{e, {*x, e}, {*weight, e}, bias.data(), *activation};
    const Array written(result.written.array(), e);
    const MatrixView y(written, e);
    if (!run_planned(linear_nanoseconds(layer), [&] { return run_linear(layer, y); }))
        return finished(nullptr);
    return finished(result.finish());
}

struct LinearBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, activation)
};

Outcome linear_backward(const Call<LinearBackwardArguments>& call) {
    MaybeArray x = as_array(call.x);
    const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
    if (!depth) return not_canonical;
    MaybeArray weight = as_weight(call.weight, *x, *depth, Packed::refused);
    const std::optional<Activation> activation = as_activation(call.activation);
    if (!weight || !activation) return not_canonical;
    const npy_intp cols = weight->shape()[1];
    const Parameter bias = as_vector(call.bias, *x, *weight);
    const MaybeArray dy = as_array(call.dy);
    if (!bias.canonical || !dy || dy->element != x->element || dy->ndim() != x->ndim()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), ResultShape(*x, cols).shape, x->ndim())) return not_canonical;
    Reference dx_array = std::move(new_like(*x).array);
    NewGradients created;
    if (bias.failed || !dx_array || !created.create(*x, *weight, bias)) return finished(nullptr);

    const Element e = x->element;
    const Layer layer{e, {*x, e}, {*weight, e}, bias.data(), *activation};
    const MatrixView slopes(*dy, e);
    const Array dx(dx_array.array(), e), dweight = created.weight_array(*x);
    const LayerGradients gradients{{dx, e}, {dweight, e}, created.bias_data()};
    const double nanoseconds = linear_backward_nanoseconds(layer);
    if (!run_planned(nanoseconds, [&] { return run_linear_backward(layer, slopes, gradients); }))
        return finished(nullptr);
    return finished(
        Py_BuildValue("NNN", dx_array.release(), created.dweight.release(), or_none(created.dbias))
    );
}

// ---- gated_linear: y = gate(x w_gate + b_gate) * (x w_up + b_up) ------------------------------------------

// The arguments that forward and backward share.
struct GatedArguments {
    bool canonical = false, failed = false;
    MaybeArray x, w_gate, w_up;
    Parameter b_gate, b_up;
    Activation gate = Activation::none;
    double beta = 1;

    template <class Arguments>
    GatedArguments(const Call<Arguments>& call, Packed packed) {
        x = as_array(call.x);
        const std::optional<npy_intp> depth = x ? features(*x) : std::nullopt;
        if (!depth) return;
        w_gate = as_weight(call.w_gate, *x, *depth, packed);
        w_up = as_weight(call.w_up, *x, *depth, packed);
        const std::optional<Activation> named = as_gate(call.gate);
        const std::optional<double> scale = as_number(call.beta, -HUGE_VAL);
        if (!w_gate || !w_up || !named || !scale || w_gate->shape()[1] != w_up->shape()[1]) return;
        gate = *named, beta = *scale;
        b_gate = as_vector(call.b_gate, *x, *w_gate);
        b_up = as_vector(call.b_up, *x, *w_gate);
        w_up = as_weight(call.w_up, *x, *depth, packed);  // again: a copy may have released the GIL
        if (!w_up || w_gate->shape()[1] != w_up->shape()[1]) return;
        canonical = b_gate.canonical && b_up.canonical;
        failed = b_gate.failed || b_up.failed;
    }
    npy_intp cols() const { return w_gate->shape()[1]; }
    GatedLayer layer() const {
        const Element e = x->element;
        return {e, {*x, e}, {*w_gate, e}, {*w_up, e}, b_gate.data(), b_up.data(), gate, beta};
    }
};

struct GatedLinearArguments {
    FASTNORM_ARGUMENTS(x, w_gate, w_up, b_gate, b_up, gate, beta, out)
};

Outcome gated_linear(const Call<GatedLinearArguments>& call) {
    const GatedArguments arguments(call, Packed::taken);
    if (!arguments.canonical) return not_canonical;
    if (arguments.failed) return finished(nullptr);
    const Array& x = *arguments.x;
    PyObject* const w_gate = memory_of(*arguments.w_gate, call.w_gate);
    PyObject* const w_up = memory_of(*arguments.w_up, call.w_up);
    LayerResult result(x, arguments.cols(), out_of(call), {call.x, w_gate, w_up, call.b_gate, call.b_up});
    if (!result.canonical) return not_canonical;
    if (!result.written) return finished(nullptr);
    const GatedLayer layer = arguments.layer();
    const Array written(result.written.array(), x.element);
    const MatrixView y(written, x.element);
    const double nanoseconds = gated_linear_nanoseconds(layer);
    if (!run_planned(nanoseconds, [&] { return run_gated_linear(layer, y); })) return finished(nullptr);
    return finished(result.finish());
}

struct GatedLinearBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, w_gate, w_up, b_gate, b_up, gate, beta)
};

Outcome gated_linear_backward(const Call<GatedLinearBackwardArguments>& call) {
    const GatedArguments arguments(call, Packed::refused);
    if (!arguments.canonical) return not_canonical;
    if (arguments.failed) return finished(nullptr);
    const MaybeArray dy = as_array(call.dy);
    if (!dy) return not_canonical;
    const Array& x = *arguments.x;
    if (dy->element != x.element || dy->ndim() != x.ndim()) return not_canonical;
    if (!PyArray_CompareLists(dy->shape(), ResultShape(x, arguments.cols()).shape, x.ndim()))
        return not_canonical;
    NewGradients of_gate, of_up;
    Reference dx_array = std::move(new_like(x).array);
    if (!dx_array || !of_gate.create(x, *arguments.w_gate, arguments.b_gate) ||
        !of_up.create(x, *arguments.w_up, arguments.b_up)) {
        return finished(nullptr);
    }
    const GatedLayer layer = arguments.layer();
    const Element e = x.element;
    const MatrixView slopes(*dy, e);
    const Array dx(dx_array.array(), e);
    const Array dw_gate = of_gate.weight_array(x), dw_up = of_up.weight_array(x);
    const GatedGradients gradients{{dx, e}, {dw_gate, e}, {dw_up, e}, of_gate.bias_data(), of_up.bias_data()};
    const double nanoseconds = gated_linear_backward_nanoseconds(layer);
    if (!run_planned(nanoseconds, [&] { return run_gated_linear_backward(layer, slopes, gradients); }))
        return finished(nullptr);
    return finished(Py_BuildValue(
        "NNNNN", dx_array.release(), of_gate.dweight.release(), of_up.dweight.release(),
        or_none(of_gate.dbias), or_none(of_up.dbias)
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
