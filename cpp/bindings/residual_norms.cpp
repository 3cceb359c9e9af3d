#include "bindings/families.h"
#include "bindings/norms.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ForwardKernels = decltype(KernelTable::add_layer_norm_forward);
using BackwardKernels = decltype(KernelTable::add_layer_norm_backward);

// One thread's time for the sum of an element besides that of the norm.
constexpr double sum_nanoseconds = 0.1;

struct ForwardArguments {
    Slot x, residual, weight, bias, alpha, axis, eps;
    Out out;
    bool returns_sum;
};

// A result, taken from the argument `out` or new.
struct Target {
    Reference object;
    Array array;
    bool warm = true;
};

bool make_new(Target& target, const Array& x) {
    NewArray fresh = new_like(x);
    target.object = std::move(fresh.array);
    target.warm = fresh.warm;
    target.array = {target.object.array(), x.element};
    return bool(target.object);
}

bool take(Target& target, PyObject* given, const Array& out) {
    Py_INCREF(given);
    target.object = Reference(given);
    target.array = out;
    return true;
}

// The results for the argument `out`, (y, summed) or y alone. False where it is not canonical, or with an
// error set.
bool make_results(const ForwardArguments& slots, const Array& x, Target& y, Target& summed) {
    if (slots.out.array == Py_None) return make_new(y, x) && (!slots.returns_sum || make_new(summed, x));
    const std::initializer_list<PyObject*> inputs = {slots.x, slots.residual, slots.weight, slots.bias};
    if (!slots.returns_sum) {
        const std::optional<Array> out = as_array(slots.out.array);
        return out && is_valid_out(*out, x, inputs, slots.out.checked) && take(y, slots.out.given, *out);
    }
    if (!PyTuple_CheckExact(slots.out.array) || PyTuple_GET_SIZE(slots.out.array) != 2) return false;
    const std::optional<Array> first = as_array(PyTuple_GET_ITEM(slots.out.array, 0));
    const std::optional<Array> second = as_array(PyTuple_GET_ITEM(slots.out.array, 1));
    if (!first || !second) return false;
    if (!is_valid_out(*first, x, inputs, slots.out.checked) ||
        !is_valid_out(*second, x, inputs, slots.out.checked))
        return false;
    if (!slots.out.checked) {
        // The sum is written before weight and bias are read.
        if (!are_apart(*first, *second)) return false;
        for (PyObject* parameter : {slots.weight, slots.bias}) {
            const std::optional<Array> array = as_array(parameter);
            if (array && !are_apart(*second, *array)) return false;
        }
    }
    const Reference given(PySequence_Tuple(slots.out.given));
    if (!given) return false;
    return PyTuple_GET_SIZE(given.get()) == 2 && take(y, PyTuple_GET_ITEM(given.get(), 0), *first) &&
           take(summed, PyTuple_GET_ITEM(given.get(), 1), *second);
}

Outcome add_norm_forward(const ForwardKernels& forward, const ForwardArguments& slots) {
    const std::optional<Array> x = as_array(slots.x), residual = as_array(slots.residual);
    Axes axes;
    if (!x || !residual || residual->element != x->element || !same_shape(*residual, *x))
        return not_canonical;
    if (!as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> alpha = as_number(slots.alpha, -HUGE_VAL), eps = as_number(slots.eps, 0);
    if (!alpha || !eps) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);
    Target y, summed;
    if (!make_results(slots, *x, y, summed)) return PyErr_Occurred() ? finished(nullptr) : not_canonical;

    const int count = slots.returns_sum ? 4 : 3;
    const Array arrays[] = {*x, *residual, y.array, slots.returns_sum ? summed.array : y.array};
    Geometry geometry;
    geometry.set_norm(arrays, count, axes);
    const Rows& rows = geometry.rows;
    if (rows.cols > 0) {
        const auto replaces = [&](const Target& target) {
            return target.object &&
                   (target.array.data() == x->data() || target.array.data() == residual->data());
        };
        AddNormForward task;
        task.norm.shape = rows;
        task.norm.x = geometry.operands[0];
        task.norm.y = geometry.operands[2];
        task.norm.weight = weight.data();
        task.norm.bias = bias.data();
        task.norm.eps = *eps;
        task.norm.counted = rows.cols;
        task.norm.mean = task.norm.rstd = nullptr;
        task.replaces = replaces(summed);
        task.residual = geometry.operands[1];
        task.summed = slots.returns_sum ? geometry.operands[3] : Operand{nullptr, nullptr, nullptr, true};
        task.norm.stream = y.warm && summed.warm && count * x->bytes() > stream_bytes && !replaces(y) &&
                           !task.replaces && task.norm.y.contiguous && task.summed.contiguous;
        task.alpha = *alpha;
        const std::int64_t size = item_size(x->element);
        const std::int64_t scratch = packing_bytes(geometry, count, size) +
                                     summed_bytes(rows.cols, item_size(compute_element(x->element)));
        const double cost = (norm_forward_nanoseconds + sum_nanoseconds) * double(rows.rows * rows.cols);
        if (!run_kernel(
                forward[int(x->element)], task, rows.rows, rows_per_chunk(rows, size), cost,
                std::size_t(scratch)
            )) {
            return finished(nullptr);
        }
    }
    if (!slots.returns_sum) return finished(y.object.release());
    return finished(PyTuple_Pack(2, y.object.get(), summed.object.get()));
}

struct BackwardArguments {
    Slot dy, dsummed, x, residual, weight, bias, alpha, axis, eps;
    bool has_bias_argument;
};

Outcome add_norm_backward(const BackwardKernels& backward, const BackwardArguments& slots) {
    const std::optional<Array> x = as_array(slots.x), residual = as_array(slots.residual);
    const std::optional<Array> dy = as_array(slots.dy), dsummed = as_array(slots.dsummed);
    if (!x || !residual || residual->element != x->element || !same_shape(*residual, *x))
        return not_canonical;
    if ((!dy && slots.dy != Py_None) || (!dsummed && slots.dsummed != Py_None) || (!dy && !dsummed))
        return not_canonical;
    for (const std::optional<Array>& gradient : {dy, dsummed}) {
        if (gradient && (gradient->element != x->element || !same_shape(*gradient, *x))) return not_canonical;
    }
    Axes axes;
    if (!as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> alpha = as_number(slots.alpha, -HUGE_VAL), eps = as_number(slots.eps, 0);
    if (!alpha || !eps) return not_canonical;
    const Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed) return finished(nullptr);

    Target dx, dresidual;
    ParameterGradients gradients;
    if (!make_new(dx, *x) || !make_new(dresidual, *x)) return finished(nullptr);
    if (!gradients.create(*x, axes, bool(weight.array), bool(bias.array))) return finished(nullptr);

    // An absent gradient is described by x, which it then is not read from.
    const Array arrays[] = {*x, *residual, dx.array, dresidual.array, dy ? *dy : *x, dsummed ? *dsummed : *x};
    Geometry geometry;
    geometry.set_norm(arrays, 6, axes);
    if (geometry.rows.cols > 0) {
        AddNormBackward task;
        task.norm.shape = geometry.rows;
        task.norm.x = geometry.operands[0];
        task.residual = geometry.operands[1];
        task.norm.dx = geometry.operands[2];
        task.dresidual = geometry.operands[3];
        task.norm.dy = geometry.operands[4];
        task.dsummed = geometry.operands[5];
        if (!dy) task.norm.dy.data = nullptr;
        if (!dsummed) task.dsummed.data = nullptr;
        task.norm.weight = weight.data();
        task.norm.eps = *eps;
        task.norm.counted = geometry.rows.cols;
        task.norm.mean = task.norm.rstd = nullptr;
        task.norm.stream = dx.warm && dresidual.warm && 5 * x->bytes() > stream_bytes &&
                           task.norm.dx.contiguous && task.dresidual.contiguous;
        task.alpha = *alpha;
        const std::int64_t scratch = packing_bytes(geometry, 6, item_size(x->element)) +
                                     summed_bytes(geometry.rows.cols, item_size(compute_element(x->element)));
        if (!run_backward(
                backward[int(x->element)], task, task.norm, *x, gradients,
                norm_backward_nanoseconds + sum_nanoseconds, scratch
            )) {
            return finished(nullptr);
        }
    }
    if (!gradients.in_given_order(slots.axis)) return finished(nullptr);
    PyObject *const first = dx.object.get(), *const second = dresidual.object.get();
    if (!slots.has_bias_argument) return finished(PyTuple_Pack(3, first, second, gradients.weight_or_none()));
    return finished(PyTuple_Pack(4, first, second, gradients.weight_or_none(), gradients.bias_or_none()));
}

struct AddLayerNormArguments {
    FASTNORM_ARGUMENTS(x, residual, weight, bias, alpha, axis, eps, out)
};

Outcome add_layer_norm(const Call<AddLayerNormArguments>& call) {
    return add_norm_forward(
        kernels().add_layer_norm_forward,
        {call.x, call.residual, call.weight, call.bias, call.alpha, call.axis, call.eps, out_of(call), true}
    );
}

struct AddLayerNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, dsummed, x, residual, weight, bias, alpha, axis, eps)
};

Outcome add_layer_norm_backward(const Call<AddLayerNormBackwardArguments>& call) {
    return add_norm_backward(
        kernels().add_layer_norm_backward, {call.dy, call.dsummed, call.x, call.residual, call.weight,
                                            call.bias, call.alpha, call.axis, call.eps, true}
    );
}

struct AddRmsNormArguments {
    FASTNORM_ARGUMENTS(x, residual, weight, alpha, axis, eps, out)
};

Outcome add_rms_norm(const Call<AddRmsNormArguments>& call) {
    return add_norm_forward(
        kernels().add_rms_norm_forward,
        {call.x, call.residual, call.weight, Py_None, call.alpha, call.axis, call.eps, out_of(call), true}
    );
}

struct AddRmsNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, dsummed, x, residual, weight, alpha, axis, eps)
};

Outcome add_rms_norm_backward(const Call<AddRmsNormBackwardArguments>& call) {
    return add_norm_backward(
        kernels().add_rms_norm_backward, {call.dy, call.dsummed, call.x, call.residual, call.weight, Py_None,
                                          call.alpha, call.axis, call.eps, false}
    );
}

// layer_norm(alpha * residual + x): add_layer_norm whose sum nobody asks for.
struct DeepNormArguments {
    FASTNORM_ARGUMENTS(x, residual, weight, bias, alpha, axis, eps, out)
};

Outcome deep_norm(const Call<DeepNormArguments>& call) {
    return add_norm_forward(
        kernels().deep_norm_forward,
        {call.x, call.residual, call.weight, call.bias, call.alpha, call.axis, call.eps, out_of(call), false}
    );
}

struct DeepNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, residual, weight, bias, alpha, axis, eps)
};

Outcome deep_norm_backward(const Call<DeepNormBackwardArguments>& call) {
    if (call.dy == Py_None) return not_canonical;  // which the rules refuse
    return add_norm_backward(
        kernels().deep_norm_backward, {call.dy, Py_None, call.x, call.residual, call.weight, call.bias,
                                       call.alpha, call.axis, call.eps, true}
    );
}

}  // namespace

const NativeOp residual_norm_ops[] = {
    FASTNORM_OP(add_layer_norm),
    FASTNORM_OP(add_layer_norm_backward),
    FASTNORM_OP(add_rms_norm),
    FASTNORM_OP(add_rms_norm_backward),
    FASTNORM_OP(deep_norm),
    FASTNORM_OP(deep_norm_backward),
    end_of_ops,
};

}  // namespace fastnorm
