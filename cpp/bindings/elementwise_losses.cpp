#include <cmath>

#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "bindings/reductions.h"
#include "plan/class_losses.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// The arguments that every element-wise loss has; `dloss` is null in a forward.
struct LossArguments {
    Slot dloss, x, target, reduction, return_grad;
    Slot weight = nullptr, pos_weight = nullptr;
    bool has_batches = false;  // 'batchmean' is a reduction
};

// A loss of each element, or its backward; `task` holds the loss's own parameters.
Outcome elementwise_loss(
    const Kernels<ElementwiseLoss>& table, ElementwiseLoss task, double nanoseconds,
    const LossArguments& slots
) {
    const MaybeArray x = as_array(slots.x), target = as_array(slots.target);
    if (!x || !target || target->element != x->element || !same_shape(*target, *x)) return not_canonical;
    std::optional<Reduction> reduction = as_reduction(slots.reduction);
    const std::optional<bool> return_grad = slots.dloss ? true : as_flag(slots.return_grad);
    std::int64_t count = x->size();  // what a mean divides by
    if (!reduction && slots.has_batches && PyUnicode_CheckExact(slots.reduction) &&
        PyUnicode_CompareWithASCIIString(slots.reduction, "batchmean") == 0) {
        reduction = Reduction::mean;
        count = x->ndim() > 0 ? x->shape()[0] : 1;
    }
    if (!reduction || !return_grad) return not_canonical;
    const bool is_reduced = *reduction != Reduction::none;
    task.scale = *reduction == Reduction::mean ? 1 / double(count) : 1;
    MaybeArray dloss;
    if (slots.dloss && is_reduced) {
        if (!PyFloat_CheckExact(slots.dloss)) return not_canonical;
        task.scale *= PyFloat_AS_DOUBLE(slots.dloss);
    } else if (slots.dloss) {
        dloss = as_array(slots.dloss);
        if (!dloss || dloss->element != x->element || !same_shape(*dloss, *x)) return not_canonical;
    }

    Array weights[2];
    npy_intp strides[2][NPY_MAXDIMS];
    const Slot given_weights[2] = {slots.weight, slots.pos_weight};
    for (int k = 0; k < 2; ++k) {
        if (!given_weights[k] || given_weights[k] == Py_None) continue;
        const MaybeArray weight = as_array(given_weights[k]);
        if (!weight || weight->element != compute_element(x->element) || !broadcasts_to(*weight, *x))
            return not_canonical;
        weights[k] = *weight;
    }

    NewArray fresh;
    Reference gradient, losses;
    if (*return_grad) {
        fresh = new_like(*x);
        gradient = std::move(fresh.array);
        if (!gradient) return finished(nullptr);
    }
    if (!slots.dloss && !is_reduced) {
        losses = new_like(*x).array;
        if (!losses) return finished(nullptr);
    }

    const Array given[ElementwiseLoss::roles] = {
        *x, *target, dloss ? *dloss : Array(), losses ? Array(losses.array(), x->element) : Array(),
        gradient ? Array(gradient.array(), x->element) : Array()
    };
    View views[ElementwiseLoss::all_roles];
    const View* arrays[ElementwiseLoss::all_roles] = {};
    for (int role = 0; role < ElementwiseLoss::roles; ++role) {
        if (!given[role].object) continue;
        views[role] = given[role];
        arrays[role] = &views[role];
    }
    for (int k = 0; k < 2; ++k) {
        const int role = ElementwiseLoss::weight + k;
        if (!weights[k].object) continue;
        views[role] = broadcast(weights[k], *x, strides[k]);
        arrays[role] = &views[role];
    }
    Geometry geometry;
    const bool adds = !slots.dloss && is_reduced;
    const Work work = plan_elementwise_loss(task, geometry, arrays, adds, fresh.warm, nanoseconds);
    const Buffer sums(adds ? std::size_t(work.units) * sizeof(double) : 0);
    if (!sums) return finished(PyErr_NoMemory());
    task.sums = adds ? static_cast<double*>(sums.data()) : nullptr;
    double total = 0;
    if (!run_planned(work.nanoseconds, [&] {
            if (!run(table[int(x->element)], task, work)) return false;
            if (adds) total = sum_of(task.sums, work.units);
            return true;
        })) {
        return finished(nullptr);
    }

    if (slots.dloss) return finished(gradient.release());
    if (adds) {
        const double loss = *reduction == Reduction::mean ? total / double(count) : total;
        losses = Reference(new_scalar(loss, x->element));
        if (!losses) return finished(nullptr);
    }
    if (!gradient) return finished(losses.release());
    return finished(PyTuple_Pack(2, losses.get(), gradient.get()));
}

Outcome squared_error(const LossArguments& slots) {
    return elementwise_loss(kernels().mse_loss, ElementwiseLoss(), squared_error_cost, slots);
}

// huber_loss with limit = top = delta, or smooth_l1_loss with limit = beta and top = 1.
Outcome huber(double limit, bool is_smooth_l1, const LossArguments& slots) {
    const MaybeArray x = as_array(slots.x);
    if (!x || !fits_compute(limit, x->element)) return not_canonical;
    const bool is_double = x->element == Element::float64;
    if (!is_double) limit = double(float(limit));
    ElementwiseLoss task = {};
    task.rise[0] = task.rise[1] = 1;
    if (!is_smooth_l1) {
        if (!(limit > 0)) return not_canonical;
        task.top = limit, task.bend = 0.5;
        return elementwise_loss(kernels().huber_loss, task, huber_cost, slots);
    }
    task.top = 1, task.bend = limit / 2;
    const double much = is_double ? 0x1p1000 : 0x1p100, little = 1 / much;
    if (limit == 0) {
        task.rise[0] = task.rise[1] = much;
    } else {
        // An inverse and its rounding lie within the type between these.
        if (limit < little) task.rise[1] = much;
        if (limit > much) task.rise[1] = little;
        task.rise[0] = 1 / (limit * task.rise[1]);
    }
    return elementwise_loss(kernels().huber_loss, task, huber_cost, slots);
}

// With `epsilon` null for 0.
Outcome focal(PyObject* epsilon, PyObject* alpha, PyObject* gamma, const LossArguments& slots) {
    ElementwiseLoss task = {};
    const std::optional<double> exponent = as_number(gamma, 0);
    const std::optional<double> coefficient = epsilon ? as_number(epsilon, -HUGE_VAL) : 0.0;
    const std::optional<double> share = alpha == Py_None ? -1.0 : as_number(alpha, -HUGE_VAL);
    const MaybeArray x = as_array(slots.x);
    if (!exponent || !coefficient || !share || *share > 1 || !x) return not_canonical;
    if (!fits_compute(*exponent, x->element) || !fits_compute(*coefficient, x->element)) return not_canonical;
    task.gamma = *exponent;
    task.epsilon = *coefficient;
    task.alpha_of_one = *share < 0 ? 1 : *share;
    task.alpha_of_zero = *share < 0 ? 1 : 1 - *share;
    return elementwise_loss(
        epsilon ? kernels().poly_focal_loss : kernels().sigmoid_focal_loss, task, focal_cost, slots
    );
}

struct MseLossArguments {
    FASTNORM_ARGUMENTS(prediction, target, reduction, return_grad)
};
Outcome mse_loss(const Call<MseLossArguments>& c) {
    return squared_error({nullptr, c.prediction, c.target, c.reduction, c.return_grad});
}

struct MseLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, prediction, target, reduction)
};
Outcome mse_loss_backward(const Call<MseLossBackwardArguments>& c) {
    return squared_error({c.dloss, c.prediction, c.target, c.reduction, nullptr});
}

struct L1LossArguments {
    FASTNORM_ARGUMENTS(prediction, target, reduction, return_grad)
};
Outcome l1_loss(const Call<L1LossArguments>& c) {
    return huber(0, true, {nullptr, c.prediction, c.target, c.reduction, c.return_grad});
}

struct L1LossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, prediction, target, reduction)
};
Outcome l1_loss_backward(const Call<L1LossBackwardArguments>& c) {
    return huber(0, true, {c.dloss, c.prediction, c.target, c.reduction, nullptr});
}

struct HuberLossArguments {
    FASTNORM_ARGUMENTS(prediction, target, delta, reduction, return_grad)
};
Outcome huber_loss(const Call<HuberLossArguments>& c) {
    const std::optional<double> delta = as_number(c.delta, 0);
    if (!delta) return not_canonical;
    return huber(*delta, false, {nullptr, c.prediction, c.target, c.reduction, c.return_grad});
}

struct HuberLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, prediction, target, delta, reduction)
};
Outcome huber_loss_backward(const Call<HuberLossBackwardArguments>& c) {
    const std::optional<double> delta = as_number(c.delta, 0);
    if (!delta) return not_canonical;
    return huber(*delta, false, {c.dloss, c.prediction, c.target, c.reduction, nullptr});
}

struct SmoothL1LossArguments {
    FASTNORM_ARGUMENTS(prediction, target, beta, reduction, return_grad)
};
Outcome smooth_l1_loss(const Call<SmoothL1LossArguments>& c) {
    const std::optional<double> beta = as_number(c.beta, 0);
    if (!beta) return not_canonical;
    return huber(*beta, true, {nullptr, c.prediction, c.target, c.reduction, c.return_grad});
}

struct SmoothL1LossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, prediction, target, beta, reduction)
};
Outcome smooth_l1_loss_backward(const Call<SmoothL1LossBackwardArguments>& c) {
    const std::optional<double> beta = as_number(c.beta, 0);
    if (!beta) return not_canonical;
    return huber(*beta, true, {c.dloss, c.prediction, c.target, c.reduction, nullptr});
}

Outcome bce(const LossArguments& slots) {
    return elementwise_loss(kernels().bce_with_logits, ElementwiseLoss(), bce_cost, slots);
}

struct BceWithLogitsArguments {
    FASTNORM_ARGUMENTS(logits, target, weight, pos_weight, reduction, return_grad)
};
Outcome bce_with_logits(const Call<BceWithLogitsArguments>& c) {
    return bce({nullptr, c.logits, c.target, c.reduction, c.return_grad, c.weight, c.pos_weight});
}

struct BceWithLogitsBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, weight, pos_weight, reduction)
};
Outcome bce_with_logits_backward(const Call<BceWithLogitsBackwardArguments>& c) {
    return bce({c.dloss, c.logits, c.target, c.reduction, nullptr, c.weight, c.pos_weight});
}

Outcome divergence(PyObject* log_target, LossArguments slots) {
    const std::optional<bool> of_logarithms = as_flag(log_target);
    if (!of_logarithms) return not_canonical;
    ElementwiseLoss task = {};
    task.of_logarithms = *of_logarithms;
    slots.has_batches = true;
    return elementwise_loss(kernels().kl_div, task, kl_cost, slots);
}

struct KlDivArguments {
    FASTNORM_ARGUMENTS(log_probabilities, target, reduction, log_target, return_grad)
};
Outcome kl_div(const Call<KlDivArguments>& c) {
    return divergence(c.log_target, {nullptr, c.log_probabilities, c.target, c.reduction, c.return_grad});
}

struct KlDivBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, log_probabilities, target, reduction, log_target)
};
Outcome kl_div_backward(const Call<KlDivBackwardArguments>& c) {
    return divergence(c.log_target, {c.dloss, c.log_probabilities, c.target, c.reduction, nullptr});
}

struct SigmoidFocalLossArguments {
    FASTNORM_ARGUMENTS(logits, target, alpha, gamma, reduction, return_grad)
};
Outcome sigmoid_focal_loss(const Call<SigmoidFocalLossArguments>& c) {
    return focal(nullptr, c.alpha, c.gamma, {nullptr, c.logits, c.target, c.reduction, c.return_grad});
}

struct SigmoidFocalLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, alpha, gamma, reduction)
};
Outcome sigmoid_focal_loss_backward(const Call<SigmoidFocalLossBackwardArguments>& c) {
    return focal(nullptr, c.alpha, c.gamma, {c.dloss, c.logits, c.target, c.reduction, nullptr});
}

struct PolyFocalLossArguments {
    FASTNORM_ARGUMENTS(logits, target, epsilon, alpha, gamma, reduction, return_grad)
};
Outcome poly_focal_loss(const Call<PolyFocalLossArguments>& c) {
    return focal(c.epsilon, c.alpha, c.gamma, {nullptr, c.logits, c.target, c.reduction, c.return_grad});
}

struct PolyFocalLossBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, logits, target, epsilon, alpha, gamma, reduction)
};
Outcome poly_focal_loss_backward(const Call<PolyFocalLossBackwardArguments>& c) {
    return focal(c.epsilon, c.alpha, c.gamma, {c.dloss, c.logits, c.target, c.reduction, nullptr});
}

}  // namespace

const NativeOp elementwise_loss_ops[] = {
    FASTNORM_OP(mse_loss),
    FASTNORM_OP(mse_loss_backward),
    FASTNORM_OP(l1_loss),
    FASTNORM_OP(l1_loss_backward),
    FASTNORM_OP(huber_loss),
    FASTNORM_OP(huber_loss_backward),
    FASTNORM_OP(smooth_l1_loss),
    FASTNORM_OP(smooth_l1_loss_backward),
    FASTNORM_OP(bce_with_logits),
    FASTNORM_OP(bce_with_logits_backward),
    FASTNORM_OP(kl_div),
    FASTNORM_OP(kl_div_backward),
    FASTNORM_OP(sigmoid_focal_loss),
    FASTNORM_OP(sigmoid_focal_loss_backward),
    FASTNORM_OP(poly_focal_loss),
    FASTNORM_OP(poly_focal_loss_backward),
    end_of_ops,
};

}  // namespace fastnorm
