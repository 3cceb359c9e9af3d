#include <cmath>

#include "bindings/dense.h"
#include "bindings/families.h"
#include "bindings/labels.h"
#include "bindings/reductions.h"
#include "bindings/run.h"
#include "plan/class_losses.h"
#include "plan/linear_cross_entropy.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// The arguments of both directions; `dloss` is what tells a backward, and null in a forward.
struct ClassifierArguments {
    Slot x, weight, target, bias, label_smoothing, ignore_index, reduction;
    Slot dloss = nullptr, return_grad = nullptr;

    template <class Arguments>
    explicit ClassifierArguments(const Call<Arguments>& call)
        : x(call.x),
          weight(call.weight),
          target(call.target),
          bias(call.bias),
          label_smoothing(call.label_smoothing),
          ignore_index(call.ignore_index),
          reduction(call.reduction) {}
};

// x as the matrix of its last axis: itself, or a copy where its rows are not equally far apart.
bool as_rows(MaybeArray& x, Reference& copy) {
    if (x->ndim() <= 2 || x->is_c_contiguous()) return true;
    copy = new_copy(*x);
    if (copy) x.set(copy.array(), x->element);
    return bool(copy);
}

// The loss where `dloss` is null, else its backward.
Outcome classifier_loss(const ClassifierArguments& slots) {
    MaybeArray x = as_array(slots.x);
    Reference copy, loss_array;
    if (!x || x->ndim() == 0) return not_canonical;
    if (!as_rows(x, copy)) return finished(nullptr);
    x->fix();
    const npy_intp depth = x->shape()[x->ndim() - 1];
    Axes axes;
    axes.count = 1;
    axes.axis[0] = x->ndim() - 1;
    MaybeArray weight = as_weight(slots.weight, *x, depth, Packed::refused);
    if (!weight || weight->shape()[1] == 0) return not_canonical;
    weight->fix();
    const npy_intp classes = weight->shape()[1];
    const std::optional<Reduction> reduction = as_reduction(slots.reduction);
    const std::optional<bool> return_grad = slots.return_grad ? as_flag(slots.return_grad) : true;
    const std::optional<std::int64_t> ignored = as_class(slots.ignore_index);
    double label_smoothing = 0;
    if (!reduction || !return_grad || !ignored || !as_share(slots.label_smoothing, label_smoothing))
        return not_canonical;
    const bool is_reduced = *reduction != Reduction::none;
    Parameter dloss;
    double factor = 1;
    if (slots.dloss && !is_reduced) {
        dloss = as_row_gradient(slots.dloss, *x, axes);
    } else if (slots.dloss) {
        if (!PyFloat_CheckExact(slots.dloss)) return not_canonical;
        factor = PyFloat_AS_DOUBLE(slots.dloss);
    }
    const Parameter bias = as_vector(slots.bias, *x, *weight);
    if (!dloss.canonical || !bias.canonical) return not_canonical;
    if (dloss.failed || bias.failed) return finished(nullptr);
    const Labels labels = as_labels(slots.target, *x, axes, classes, ignored);
    if (!labels.canonical) return not_canonical;
    if (!labels.array) return finished(nullptr);

    const Element e = x->element;
    const std::int64_t rows = MatrixView(*x, e).rows();
    const Buffer losses(slots.dloss ? 0 : std::size_t(rows) * sizeof(double));
    if (!losses) return finished(PyErr_NoMemory());
    Reference dx;
    NewGradients created;
    if (*return_grad) {
        dx = new_like(*x).array;
        if (!dx || !created.create(*x, *weight, bias)) return finished(nullptr);
    }
    if (!slots.dloss && !is_reduced && !(loss_array = new_losses(*x, axes))) return finished(nullptr);
    double* const row_losses = slots.dloss ? nullptr : static_cast<double*>(losses.data());
    ClassifierLoss loss{e,          {*x, e},      {*weight, e}, bias.data(), labels.data(), label_smoothing,
                        row_losses, dloss.data(), factor};
    double divisor = 1, total = 0;
    if (!run_planned(classifier_loss_nanoseconds(loss, *return_grad), [&] {
            if (*reduction == Reduction::mean) {
                divisor = weight_of_rows(loss.labels, rows, nullptr, classes, compute_element(e));
                loss.scale = factor / divisor;
            }
            if (*return_grad) {
                const Array dx_array(dx.array(), e), dweight = created.weight_array(*x);
                if (!run_classifier_gradients(loss, {{dx_array, e}, {dweight, e}, created.bias_data()}))
                    return false;
            } else if (!run_classifier_loss(loss)) {
                return false;
            }
            if (slots.dloss) return true;
            if (is_reduced) {
                total = sum_of(row_losses, rows);
            } else {
                kernels().round_losses[int(e)](
                    {row_losses, PyArray_DATA(loss_array.array())}, 0, rows, nullptr
                );
            }
            return true;
        })) {
        return finished(nullptr);
    }
    if (slots.dloss) {
        return finished(
            Py_BuildValue("NNN", dx.release(), created.dweight.release(), or_none(created.dbias))
        );
    }
    loss_array = loss_result(std::move(loss_array), total / divisor, *x);
    if (!loss_array) return finished(nullptr);
    if (!*return_grad) return finished(loss_array.release());
    return finished(Py_BuildValue(
        "NNNN", loss_array.release(), dx.release(), created.dweight.release(), or_none(created.dbias)
    ));
}

struct LinearCrossEntropyArguments {
    FASTNORM_ARGUMENTS(x, weight, target, bias, label_smoothing, ignore_index, reduction, return_grad)
};

Outcome linear_cross_entropy(const Call<LinearCrossEntropyArguments>& call) {
    ClassifierArguments arguments(call);
    arguments.return_grad = call.return_grad;
    return classifier_loss(arguments);
}

struct LinearCrossEntropyBackwardArguments {
    FASTNORM_ARGUMENTS(dloss, x, weight, target, bias, label_smoothing, ignore_index, reduction)
};

Outcome linear_cross_entropy_backward(const Call<LinearCrossEntropyBackwardArguments>& call) {
    ClassifierArguments arguments(call);
    arguments.dloss = call.dloss;
    return classifier_loss(arguments);
}

}  // namespace

const NativeOp linear_cross_entropy_ops[] = {
    FASTNORM_OP(linear_cross_entropy),
    FASTNORM_OP(linear_cross_entropy_backward),
    end_of_ops,
};

}  // namespace fastnorm
