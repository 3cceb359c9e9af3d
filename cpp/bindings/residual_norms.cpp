#include "bindings/families.h"
#include "bindings/overlap.h"
#include "bindings/parameter_gradients.h"
#include "bindings/run.h"
#include "plan/norms.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ForwardKernels = decltype(KernelTable::add_layer_norm_forward);
using BackwardKernels = decltype(KernelTable::add_layer_norm_backward);

struct ForwardArguments {
    Slot x, residual, weight, bias, alpha, axis, eps;
    Out out;
    bool returns_sum;
    double weight_offset = 0;
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
    if (!target.object) return false;
    target.array = Array(target.object.array(), x.element);
    return true;
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
        const MaybeArray out = as_array(slots.out.array);
        return out && is_valid_out(*out, x, inputs, slots.out.checked) && take(y, slots.out.given, *out);
    }
    if (!PyTuple_CheckExact(slots.out.array) || PyTuple_GET_SIZE(slots.out.array) != 2) return false;
    const MaybeArray first = as_array(PyTuple_GET_ITEM(slots.out.array, 0));
    const MaybeArray second = as_array(PyTuple_GET_ITEM(slots.out.array, 1));
    if (!first || !second) return false;
    if (!is_valid_out(*first, x, inputs, slots.out.checked) ||
        !is_valid_out(*second, x, inputs, slots.out.checked))
        return false;
    if (!slots.out.checked) {
        // The sum is written before weight and bias are read.
        if (!are_apart(*first, *second)) return false;
        for (PyObject* parameter : {slots.weight, slots.bias}) {
            const MaybeArray array = as_array(parameter);
            if (array && !are_apart(*second, *array)) return false;
        }
    }
    // A tuple, or the rules would have refused it.
    PyObject* const given = slots.out.given;
    return PyTuple_GET_SIZE(given) == 2 && take(y, PyTuple_GET_ITEM(given, 0), *first) &&
           take(summed, PyTuple_GET_ITEM(given, 1), *second);
}

Outcome add_norm_forward(const ForwardKernels& forward, const ForwardArguments& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> alpha = as_number(slots.alpha, -HUGE_VAL), eps = as_number(slots.eps, 0);
    if (!alpha || !eps || !fits_compute(*alpha, x->element)) return not_canonical;
    if (!fits_compute(slots.weight_offset, x->element)) return not_canonical;
    Parameter weight = as_parameter(slots.weight, *x, axes);
    const Parameter bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed || !add_offset(weight, slots.weight_offset, *x, axes))
        return finished(nullptr);
    const MaybeArray residual = as_array(slots.residual);
    if (!residual || residual->element != x->element || !same_shape(*residual, *x)) return not_canonical;
    Target y, summed;
    if (!make_results(slots, *x, y, summed)) return PyErr_Occurred() ? finished(nullptr) : not_canonical;

    const View x_view = *x, residual_view = *residual, y_view = y.array;
    const View summed_view = slots.returns_sum ? summed.array : y.array;
    const SumArrays arrays{&x_view, &residual_view, &y_view, slots.returns_sum ? &summed_view : nullptr};
    Geometry geometry;
    AddNormForward task;
    const Work work = plan_add_norm_forward(task, geometry, arrays, axes, y.warm && summed.warm);
    if (geometry.rows.cols > 0) {
        task.norm.weight = weight.data();
        task.norm.bias = bias.data();
        task.norm.eps = *eps;
        task.alpha = *alpha;
        if (!run_kernel(forward[int(x->element)], task, work)) return finished(nullptr);
    }
    if (!slots.returns_sum) return finished(y.object.release());
    return finished(PyTuple_Pack(2, y.object.get(), summed.object.get()));
}

struct BackwardArguments {
    Slot dy, dsummed, x, residual, weight, bias, alpha, axis, eps;
    bool has_bias_argument;
    double weight_offset = 0;
};

Outcome add_norm_backward(const BackwardKernels& backward, const BackwardArguments& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> alpha = as_number(slots.alpha, -HUGE_VAL), eps = as_number(slots.eps, 0);
    if (!alpha || !eps || !fits_compute(*alpha, x->element)) return not_canonical;
    if (!fits_compute(slots.weight_offset, x->element)) return not_canonical;
    Parameter weight = as_parameter(slots.weight, *x, axes);
    const Parameter bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed || !add_offset(weight, slots.weight_offset, *x, axes))
        return finished(nullptr);

    const MaybeArray residual = as_array(slots.residual);
    if (!residual || residual->element != x->element || !same_shape(*residual, *x)) return not_canonical;
    const MaybeArray dy = as_array(slots.dy), dsummed = as_array(slots.dsummed);
    if ((!dy && slots.dy != Py_None) || (!dsummed && slots.dsummed != Py_None) || (!dy && !dsummed))
        return not_canonical;
    for (const MaybeArray& gradient : {dy, dsummed}) {
        if (gradient && (gradient->element != x->element || !same_shape(*gradient, *x))) return not_canonical;
    }
    Target dx, dresidual;
    ParameterGradients gradients;
    if (!make_new(dx, *x) || !make_new(dresidual, *x)) return finished(nullptr);
    if (!gradients.create(*x, axes, bool(weight.array), bool(bias.array))) return finished(nullptr);

    const View x_view = *x, residual_view = *residual, dx_view = dx.array, dresidual_view = dresidual.array;
    const View dy_view = dy ? *dy : *x, dsummed_view = dsummed ? *dsummed : *x;
    const SumGradients arrays{
        dy ? &dy_view : nullptr, dsummed ? &dsummed_view : nullptr, &x_view, &residual_view, &dx_view,
        &dresidual_view
    };
    Geometry geometry;
    AddNormBackward task;
    double single_weight;
    const Work work = plan_add_norm_backward(task, geometry, arrays, axes, dx.warm && dresidual.warm);
    if (geometry.rows.cols > 0) {
        const void* const given = weight.data();
        task.norm.weight = slots.has_bias_argument
                               ? centred_weight(given, geometry.rows.cols, x->element, single_weight)
                               : given;
        task.norm.eps = *eps;
        task.alpha = *alpha;
        const auto kernel = backward[int(x->element)];
        if (!run_planned(work.nanoseconds, [&] {
                return run_norm_backward(
                    kernel, task, task.norm, work, x->element, gradients.weight_data(), gradients.bias_data()
                );
            })) {
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
    FASTNORM_ARGUMENTS(x, residual, weight, alpha, axis, eps, weight_offset, out)
};

Outcome add_rms_norm(const Call<AddRmsNormArguments>& call) {
    const std::optional<double> offset = as_number(call.weight_offset, -HUGE_VAL);
    if (!offset) return not_canonical;
    return add_norm_forward(
        kernels().add_rms_norm_forward, {call.x, call.residual, call.weight, Py_None, call.alpha, call.axis,
                                         call.eps, out_of(call), true, *offset}
    );
}

struct AddRmsNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, dsummed, x, residual, weight, alpha, axis, eps, weight_offset)
};

Outcome add_rms_norm_backward(const Call<AddRmsNormBackwardArguments>& call) {
    const std::optional<double> offset = as_number(call.weight_offset, -HUGE_VAL);
    if (!offset) return not_canonical;
    return add_norm_backward(
        kernels().add_rms_norm_backward, {call.dy, call.dsummed, call.x, call.residual, call.weight, Py_None,
                                          call.alpha, call.axis, call.eps, false, *offset}
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
