#include <cmath>

#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/labels.h"
#include "bindings/reductions.h"
#include "bindings/run.h"
#include "plan/class_losses.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// The arguments of a loss over classes; null where an op has no such argument. `dloss` is what tells a
// backward.
struct ClassArguments {
    Slot logits, target, reduction, axis;
    Slot dloss = nullptr, return_grad = nullptr;
    Slot weight = nullptr, label_smoothing = nullptr, ignore_index = nullptr;
    Slot gamma = nullptr, epsilon = nullptr;
    bool is_nll = false;

    // Those that every op has.
    template <class Arguments>
    explicit ClassArguments(const Call<Arguments>& call) : ClassArguments(call, call.logits) {}
    template <class Arguments>
    ClassArguments(const Call<Arguments>& call, PyObject* scores)
        : logits(scores), target(call.target), reduction(call.reduction), axis(call.axis) {}
};

// The coefficients of poly_loss, a float or a tuple of floats: how many there are, and their values.
std::int64_t coefficient_count(PyObject* slot) {
    if (!slot) return 0;
    return PyTuple_CheckExact(slot) ? PyTuple_GET_SIZE(slot) : 1;
}
bool as_coefficients(PyObject* slot, std::int64_t count, Element element, double* values) {
    for (std::int64_t i = 0; i < count; ++i) {
        const bool is_tuple = PyTuple_CheckExact(slot);
        const std::optional<double> value = as_number(is_tuple ? PyTuple_GET_ITEM(slot, i) : slot, -HUGE_VAL);
        if (!value || !fits_compute(*value, element)) return false;
        values[i] = *value;
    }
    return true;
}

// A loss over classes where `dloss` is null, else its backward.
Outcome class_loss(const ClassArguments& slots) {
    MaybeArray logits = as_array(slots.logits);
    Axes axes;
    if (!logits || !as_axis(slots.axis, logits->ndim(), axes)) return not_canonical;
    const std::int64_t classes = logits->shape()[axes.axis[0]];
    if (classes == 0) return not_canonical;
    const std::optional<Reduction> reduction = as_reduction(slots.reduction);
    const std::optional<bool> return_grad = slots.return_grad ? as_flag(slots.return_grad) : true;
    if (!reduction || !return_grad) return not_canonical;
    ClassLoss task = {};
    if (!as_share(slots.label_smoothing, task.label_smoothing)) return not_canonical;
    task.terms = coefficient_count(slots.epsilon);
    Numbers coefficients(task.terms);
    if (!coefficients) return finished(PyErr_NoMemory());
    double* const epsilon = coefficients.take(task.terms);
    if (!as_coefficients(slots.epsilon, task.terms, logits->element, epsilon)) return not_canonical;
    task.epsilon = epsilon;
    if (slots.gamma) {
        const std::optional<double> gamma = as_number(slots.gamma, 0);
        if (!gamma || !fits_compute(*gamma, logits->element)) return not_canonical;
        task.gamma = *gamma;
    }
    std::optional<std::int64_t> ignored;
    if (slots.ignore_index && !(ignored = as_class(slots.ignore_index))) return not_canonical;
    const Parameter weight = slots.weight ? as_parameter(slots.weight, *logits, axes) : Parameter{};
    if (!weight.canonical) return not_canonical;
    if (weight.failed) return finished(nullptr);

    Parameter dloss;
    double factor = 1;
    if (slots.dloss && *reduction == Reduction::none) {
        dloss = as_row_gradient(slots.dloss, *logits, axes);
        if (!dloss.canonical) return not_canonical;
        if (dloss.failed) return finished(nullptr);
        task.dloss = dloss.data();
    } else if (slots.dloss) {
        if (!PyFloat_CheckExact(slots.dloss)) return not_canonical;
        factor = PyFloat_AS_DOUBLE(slots.dloss);
    }

    MaybeArray probabilities = as_array(slots.target);
    Labels labels;
    if (probabilities) {
        // focal_loss and nll_loss have class targets only.
        if (slots.gamma || slots.is_nll || probabilities->element != logits->element ||
            !same_shape(*probabilities, *logits))
            return not_canonical;
    } else {
        labels = as_labels(slots.target, *logits, axes, classes, ignored);
        if (!labels.canonical) return not_canonical;
        if (!labels.array) return finished(nullptr);
        task.labels = labels.data();
    }
    const std::int64_t rows = logits->size() / classes;
    const Element compute = compute_element(logits->element);

    NewArray fresh;
    if (*return_grad && !(fresh = new_like(*logits)).array) return finished(nullptr);
    Reference gradient = std::move(fresh.array);
    const Array written = gradient ? Array(gradient.array(), logits->element) : Array();
    const View gradient_view = written, probabilities_view = probabilities ? *probabilities : *logits;
    Geometry geometry;
    const View* const wanted = gradient ? &gradient_view : nullptr;
    const Work work = slots.is_nll ? plan_nll_loss(task, geometry, *logits, wanted, axes, fresh.warm)
                                   : plan_class_loss(
                                         task, geometry, *logits, wanted,
                                         probabilities ? &probabilities_view : nullptr, axes, fresh.warm
                                     );
    const auto& table = slots.is_nll ? kernels().nll_loss : kernels().class_loss;
    task.weight = weight.data();
    const Buffer losses(slots.dloss ? 0 : std::size_t(rows) * sizeof(double));
    if (!losses) return finished(PyErr_NoMemory());
    task.losses = slots.dloss ? nullptr : static_cast<double*>(losses.data());
    const bool is_reduced = *reduction != Reduction::none;
    Reference loss = slots.dloss || is_reduced ? Reference() : new_losses(*logits, axes);
    if (!slots.dloss && !is_reduced && !loss) return finished(nullptr);
    double divisor = 1, total = 0;
    if (!run_planned(work.nanoseconds, [&] {
            // The gradient of a row's loss is dloss (1 in the forward) times the share that the reduction
            // gives the row.
            if (*reduction == Reduction::mean) {
                divisor = task.labels ? weight_of_rows(task.labels, rows, task.weight, classes, compute)
                                      : double(rows);
            }
            task.scale = 1 / divisor * factor;
            // Without smoothing the weights of other classes than a row's own do not count, be they NaN.
            task.weight_sum = weight_of_classes(task.weight, classes, compute);
            if (task.labels && task.label_smoothing == 0 && !std::isfinite(task.weight_sum))
                task.weight_sum = 0;
            if (!run(table[int(logits->element)], task, work)) return false;
            if (slots.dloss) return true;
            if (is_reduced) {
                total = sum_of(task.losses, rows);
            } else {
                const RoundLosses rounded{task.losses, PyArray_DATA(loss.array())};
                kernels().round_losses[int(logits->element)](rounded, 0, rows, nullptr);
            }
            return true;
        })) {
        return finished(nullptr);
    }
    if (slots.dloss) return finished(gradient.release());
    loss = loss_result(std::move(loss), total / divisor, *logits);
    if (!loss) return finished(nullptr);
    if (!gradient) return finished(loss.release());
    return finished(PyTuple_Pack(2, loss.get(), gradient.get()));
}

struct CrossEntropyArguments {
    FASTNORM_ARGUMENTS(logits, target, weight, label_smoothing, ignore_index, reduction, axis, return_grad)
};

Outcome cross_entropy(const Call<CrossEntropyArguments>& call) {
    ClassArguments arguments(call);
    arguments.weight = call.weight;
    arguments.label_smoothing = call.label_smoothing;
    arguments.ignore_index = call.ignore_index;
    arguments.return_grad = call.return_grad;
    return class_loss(arguments);
}

struct CrossEntropyBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, weight, label_smoothing, ignore_index, reduction, axis)
};

Outcome cross_entropy_backward(const Call<CrossEntropyBackwardArguments>& call) {
    ClassArguments arguments(call);
    arguments.dloss = call.dloss;
    arguments.weight = call.weight;
    arguments.label_smoothing = call.label_smoothing;
    arguments.ignore_index = call.ignore_index;
    return class_loss(arguments);
}

struct FocalLossArguments {
    FASTNORM_ARGUMENTS(logits, target, gamma, reduction, axis, return_grad)
};

Outcome focal_loss(const Call<FocalLossArguments>& call) {
    ClassArguments arguments(call);
    arguments.gamma = call.gamma;
    arguments.return_grad = call.return_grad;
    return class_loss(arguments);
}

struct FocalLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, gamma, reduction, axis)
};

Outcome focal_loss_backward(const Call<FocalLossBackwardArguments>& call) {
    ClassArguments arguments(call);
    arguments.dloss = call.dloss;
    arguments.gamma = call.gamma;
    return class_loss(arguments);
}

struct NllLossArguments {
    FASTNORM_ARGUMENTS(log_probabilities, target, weight, ignore_index, reduction, axis, return_grad)
};

Outcome nll_loss(const Call<NllLossArguments>& call) {
    ClassArguments arguments(call, call.log_probabilities);
    arguments.is_nll = true;
    arguments.weight = call.weight;
    arguments.ignore_index = call.ignore_index;
    arguments.return_grad = call.return_grad;
    return class_loss(arguments);
}

struct NllLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, log_probabilities, target, weight, ignore_index, reduction, axis)
};

Outcome nll_loss_backward(const Call<NllLossBackwardArguments>& call) {
    ClassArguments arguments(call, call.log_probabilities);
    arguments.is_nll = true;
    arguments.dloss = call.dloss;
    arguments.weight = call.weight;
    arguments.ignore_index = call.ignore_index;
    return class_loss(arguments);
}

struct PolyLossArguments {
    FASTNORM_ARGUMENTS(logits, target, epsilon, label_smoothing, ignore_index, reduction, axis, return_grad)
};

Outcome poly_loss(const Call<PolyLossArguments>& call) {
    ClassArguments arguments(call);
    arguments.epsilon = call.epsilon;
    arguments.label_smoothing = call.label_smoothing;
    arguments.ignore_index = call.ignore_index;
    arguments.return_grad = call.return_grad;
    return class_loss(arguments);
}

struct PolyLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, epsilon, label_smoothing, ignore_index, reduction, axis)
};

Outcome poly_loss_backward(const Call<PolyLossBackwardArguments>& call) {
    ClassArguments arguments(call);
    arguments.dloss = call.dloss;
    arguments.epsilon = call.epsilon;
    arguments.label_smoothing = call.label_smoothing;
    arguments.ignore_index = call.ignore_index;
    return class_loss(arguments);
}

}  // namespace

const NativeOp class_loss_ops[] = {
    FASTNORM_OP(cross_entropy),
    FASTNORM_OP(cross_entropy_backward),
    FASTNORM_OP(focal_loss),
    FASTNORM_OP(focal_loss_backward),
    FASTNORM_OP(nll_loss),
    FASTNORM_OP(nll_loss_backward),
    FASTNORM_OP(poly_loss),
    FASTNORM_OP(poly_loss_backward),
    end_of_ops,
};

}  // namespace fastnorm
