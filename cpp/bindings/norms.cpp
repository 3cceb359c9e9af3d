#include <cmath>
#include <limits>

#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/parameter_gradients.h"
#include "bindings/run.h"
#include "plan/norms.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// Statistics of rows without columns: nothing was averaged.
void fill_with_nan(PyArrayObject* array) {
    const npy_intp size = PyArray_SIZE(array);
    const ReleasedGil released(double(size) > gil_nanoseconds);
    if (PyArray_TYPE(array) == NPY_DOUBLE) {
        std::fill_n(static_cast<double*>(PyArray_DATA(array)), size, std::nan(""));
    } else {
        std::fill_n(static_cast<float*>(PyArray_DATA(array)), size, std::nanf(""));
    }
}

using ForwardKernels = decltype(KernelTable::layer_norm_forward);
using BackwardKernels = decltype(KernelTable::layer_norm_backward);

// What rms_norm and normalize have beyond layer_norm.
struct RmsOptions {
    double weight_offset = 0;
    double fraction = 1;
    bool unit_length = false;
};

bool as_rms_options(PyObject* x, PyObject* weight_offset, PyObject* fraction, RmsOptions& options) {
    const std::optional<double> offset = as_number(weight_offset, -HUGE_VAL), share = as_fraction(fraction);
    const MaybeArray array = as_array(x);
    if (!offset || !share || !array || !fits_compute(*offset, array->element)) return false;
    options = {*offset, *share, false};
    return true;
}

struct ForwardArguments {
    Slot x, weight, bias, axis, eps, return_stats;
    Out out;
    bool has_mean;  // layer_norm
    RmsOptions rms = {};
};

Outcome norm_forward(const ForwardKernels& forward, const ForwardArguments& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    const std::optional<bool> return_stats = as_flag(slots.return_stats);
    if (!eps || !return_stats) return not_canonical;
    Parameter weight = as_parameter(slots.weight, *x, axes), bias = as_parameter(slots.bias, *x, axes);
    if (!weight.canonical || !bias.canonical) return not_canonical;
    if (weight.failed || bias.failed || !add_offset(weight, slots.rms.weight_offset, *x, axes))
        return finished(nullptr);

    Result y = result_like(*x, slots.out, {slots.x, slots.weight, slots.bias});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    Reference mean, rstd;
    if (*return_stats) {
        if (slots.has_mean && !(mean = new_statistic(*x, axes))) return finished(nullptr);
        if (!(rstd = new_statistic(*x, axes))) return finished(nullptr);
    }

    Geometry geometry;
    NormForward task;
    const Work work = plan_norm_forward(task, geometry, *x, y.array, axes, y.warm);
    if (task.shape.cols > 0) {
        task.weight = weight.data();
        task.bias = bias.data();
        task.eps = *eps;
        task.counted = counted_columns(slots.rms.fraction, task.shape.cols);
        task.unit_length = slots.rms.unit_length;
        task.mean = mean ? PyArray_DATA(mean.array()) : nullptr;
        task.rstd = rstd ? PyArray_DATA(rstd.array()) : nullptr;
        if (!run_kernel(forward[int(x->element)], task, work)) return finished(nullptr);
    } else {
        if (mean) fill_with_nan(mean.array());
        if (rstd) fill_with_nan(rstd.array());
    }
    if (!*return_stats) return finished(y.object.release());
    if (slots.has_mean) return finished(PyTuple_Pack(3, y.object.get(), mean.get(), rstd.get()));
    return finished(PyTuple_Pack(2, y.object.get(), rstd.get()));
}

struct BackwardArguments {
    Slot dy, x, weight, bias, axis, eps, stats;
    bool has_mean;
    RmsOptions rms = {};
};

Outcome norm_backward(const BackwardKernels& backward, const BackwardArguments& slots) {
    MaybeArray x = as_array(slots.x);
    Axes axes;
    if (!x || !as_axes(slots.axis, x->ndim(), axes)) return not_canonical;
    const std::optional<double> eps = as_number(slots.eps, 0);
    if (!eps) return not_canonical;
    Parameter weight = as_parameter(slots.weight, *x, axes);
    const Parameter bias = as_parameter(slots.bias, *x, axes);
    Parameter mean, rstd;
    if (slots.stats != Py_None && slots.has_mean) {
        if (!PyTuple_CheckExact(slots.stats) || PyTuple_GET_SIZE(slots.stats) != 2) return not_canonical;
        mean = as_statistic(PyTuple_GET_ITEM(slots.stats, 0), *x, axes);
        rstd = as_statistic(PyTuple_GET_ITEM(slots.stats, 1), *x, axes);
    } else if (slots.stats != Py_None) {
        rstd = as_statistic(slots.stats, *x, axes);
    }
    if (!weight.canonical || !bias.canonical || !mean.canonical || !rstd.canonical) return not_canonical;
    if (weight.failed || bias.failed || mean.failed || rstd.failed) return finished(nullptr);
    const bool has_weight = bool(weight.array), has_bias = bool(bias.array);
    if (!add_offset(weight, slots.rms.weight_offset, *x, axes)) return finished(nullptr);
    const MaybeArray dy = as_array(slots.dy);
    if (!dy || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;

    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    ParameterGradients gradients;
    if (!dx || !gradients.create(*x, axes, has_weight, has_bias)) return finished(nullptr);

    Geometry geometry;
    NormBackward task;
    double single_weight;
    const Array written(dx.array(), x->element);
    const Work work = plan_norm_backward(task, geometry, *dy, *x, written, axes, fresh.warm);
    if (task.shape.cols > 0) {
        const void* const given = weight.data();
        task.weight =
            slots.has_mean ? centred_weight(given, task.shape.cols, x->element, single_weight) : given;
        task.eps = *eps;
        task.counted = counted_columns(slots.rms.fraction, task.shape.cols);
        task.unit_length = slots.rms.unit_length;
        task.mean = mean.data();
        task.rstd = rstd.data();
        const auto kernel = backward[int(x->element)];
        if (!run_planned(work.nanoseconds, [&] {
                return run_norm_backward(
                    kernel, task, task, work, x->element, gradients.weight_data(), gradients.bias_data()
                );
            })) {
            return finished(nullptr);
        }
    }
    if (slots.rms.unit_length) return finished(dx.release());
    if (!gradients.in_given_order(slots.axis)) return finished(nullptr);
    return finished(PyTuple_Pack(3, dx.get(), gradients.weight_or_none(), gradients.bias_or_none()));
}

struct LayerNormArguments {
    FASTNORM_ARGUMENTS(x, weight, bias, axis, eps, return_stats, out)
};

Outcome layer_norm(const Call<LayerNormArguments>& call) {
    return norm_forward(
        kernels().layer_norm_forward,
        {call.x, call.weight, call.bias, call.axis, call.eps, call.return_stats, out_of(call), true}
    );
}

struct LayerNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, axis, eps, stats)
};

Outcome layer_norm_backward(const Call<LayerNormBackwardArguments>& call) {
    return norm_backward(
        kernels().layer_norm_backward,
        {call.dy, call.x, call.weight, call.bias, call.axis, call.eps, call.stats, true}
    );
}

struct RmsNormArguments {
    FASTNORM_ARGUMENTS(x, weight, bias, axis, eps, weight_offset, fraction, return_stats, out)
};

Outcome rms_norm(const Call<RmsNormArguments>& call) {
    RmsOptions rms;
    if (!as_rms_options(call.x, call.weight_offset, call.fraction, rms)) return not_canonical;
    return norm_forward(
        kernels().rms_norm_forward,
        {call.x, call.weight, call.bias, call.axis, call.eps, call.return_stats, out_of(call), false, rms}
    );
}

struct RmsNormBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, weight, bias, axis, eps, weight_offset, fraction, stats)
};

Outcome rms_norm_backward(const Call<RmsNormBackwardArguments>& call) {
    RmsOptions rms;
    if (!as_rms_options(call.x, call.weight_offset, call.fraction, rms)) return not_canonical;
    return norm_backward(
        kernels().rms_norm_backward,
        {call.dy, call.x, call.weight, call.bias, call.axis, call.eps, call.stats, false, rms}
    );
}

// rms_norm without parameters, by the length instead of the root of the mean square.
constexpr RmsOptions unit_length = {0, 1, true};

struct NormalizeArguments {
    FASTNORM_ARGUMENTS(x, axis, eps, out)
};

Outcome normalize(const Call<NormalizeArguments>& call) {
    return norm_forward(
        kernels().rms_norm_forward,
        {call.x, Py_None, Py_None, call.axis, call.eps, Py_False, out_of(call), false, unit_length}
    );
}

struct NormalizeBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, axis, eps)
};

Outcome normalize_backward(const Call<NormalizeBackwardArguments>& call) {
    return norm_backward(
        kernels().rms_norm_backward,
        {call.dy, call.x, Py_None, Py_None, call.axis, call.eps, Py_None, false, unit_length}
    );
}

}  // namespace

const NativeOp norm_ops[] = {
    FASTNORM_OP(layer_norm),
    FASTNORM_OP(layer_norm_backward),
    FASTNORM_OP(rms_norm),
    FASTNORM_OP(rms_norm_backward),
    FASTNORM_OP(normalize),
    FASTNORM_OP(normalize_backward),
    end_of_ops,
};

}  // namespace fastnorm
