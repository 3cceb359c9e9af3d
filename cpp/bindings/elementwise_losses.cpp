#include <cmath>

#include "bindings/elementwise.h"
#include "bindings/module.h"
#include "bindings/reductions.h"
#include "plan/class_losses.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element of float32 in cache; float64 takes three times as long.
constexpr double squared_error_nanoseconds = 0.25;
constexpr double focal_nanoseconds = 1.2;

// The arguments that every element-wise loss has; `dloss` is null in a forward.
struct LossArguments {
    PyObject *dloss, *x, *target, *reduction, *return_grad;
};

// A loss of each element, or its backward; `task` holds the loss's own parameters.
Outcome elementwise_loss(
    const Kernels<ElementwiseLoss>& table, ElementwiseLoss task, double nanoseconds,
    const LossArguments& slots
) {
    const std::optional<Array> x = as_array(slots.x), target = as_array(slots.target);
    if (!x || !target || target->element != x->element || !same_shape(*target, *x)) return not_canonical;
    const std::optional<Reduction> reduction = as_reduction(slots.reduction);
    const std::optional<bool> return_grad = slots.dloss ? true : as_flag(slots.return_grad);
    if (!reduction || !return_grad) return not_canonical;
    const std::int64_t count = x->size();
    const bool is_reduced = *reduction != Reduction::none;
    task.scale = *reduction == Reduction::mean ? 1 / double(count) : 1;
    std::optional<Array> dloss;
    if (slots.dloss && is_reduced) {
        if (!PyFloat_CheckExact(slots.dloss)) return not_canonical;
        task.scale *= PyFloat_AS_DOUBLE(slots.dloss);
    } else if (slots.dloss) {
        dloss = as_array(slots.dloss);
        if (!dloss || dloss->element != x->element || !same_shape(*dloss, *x)) return not_canonical;
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
        *x, *target, dloss ? *dloss : Array{}, {losses.array(), x->element}, {gradient.array(), x->element}
    };
    View views[ElementwiseLoss::roles];
    const View* arrays[ElementwiseLoss::roles] = {};
    for (int role = 0; role < ElementwiseLoss::roles; ++role) {
        if (!given[role].object) continue;
        views[role] = given[role];
        arrays[role] = &views[role];
    }
    Geometry geometry;
    const Work work = plan_elementwise_loss(task, geometry, arrays, fresh.warm, nanoseconds);
    const bool adds = !slots.dloss && is_reduced;
    const Buffer sums(adds ? std::size_t(work.units) * sizeof(double) : 0);
    if (!sums) return finished(PyErr_NoMemory());
    task.sums = adds ? static_cast<double*>(sums.data()) : nullptr;
    if (!run_kernel(table[int(x->element)], task, work)) return finished(nullptr);

    if (slots.dloss) return finished(gradient.release());
    if (adds) {
        const double total = sum_of(task.sums, work.units);
        losses = Reference(new_scalar(*reduction == Reduction::mean ? total / double(count) : total, *x));
        if (!losses) return finished(nullptr);
    }
    if (!gradient) return finished(losses.release());
    return finished(PyTuple_Pack(2, losses.get(), gradient.get()));
}

Outcome squared_error(const LossArguments& slots) {
    return elementwise_loss(kernels().mse_loss, ElementwiseLoss(), squared_error_nanoseconds, slots);
}

// With `epsilon` null for 0.
Outcome focal(PyObject* epsilon, PyObject* alpha, PyObject* gamma, const LossArguments& slots) {
    ElementwiseLoss task = {};
    const std::optional<double> exponent = as_number(gamma, 0);
    const std::optional<double> coefficient = epsilon ? as_number(epsilon, -HUGE_VAL) : 0.0;
    const std::optional<double> share = alpha == Py_None ? -1.0 : as_number(alpha, -HUGE_VAL);
    if (!exponent || !coefficient || !share || *share > 1) return not_canonical;
    task.gamma = *exponent;
    task.epsilon = *coefficient;
    task.alpha_of_one = *share < 0 ? 1 : *share;
    task.alpha_of_zero = *share < 0 ? 1 : 1 - *share;
    return elementwise_loss(kernels().sigmoid_focal_loss, task, focal_nanoseconds, slots);
}

// ---- the Python functions ---------------------------------------------------------------------------------

PyObject* mse_loss(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mse_loss", 2,
        {{"prediction", nullptr},
         {"target", nullptr},
         {"reduction", reduction_name("mean")},
         {"return_grad", Py_False}}
    );
    const OpFunction run = [](const Call& c) { return squared_error({nullptr, c[0], c[1], c[2], c[3]}); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* mse_loss_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "mse_loss_backward", 3,
        {{"dloss", nullptr},
         {"prediction", nullptr},
         {"target", nullptr},
         {"reduction", reduction_name("mean")}}
    );
    const OpFunction run = [](const Call& c) { return squared_error({c[0], c[1], c[2], c[3], nullptr}); };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* sigmoid_focal_loss(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "sigmoid_focal_loss", 2,
        {{"logits", nullptr},
         {"target", nullptr},
         {"alpha", PyFloat_FromDouble(0.25)},
         {"gamma", PyFloat_FromDouble(2)},
         {"reduction", reduction_name("none")},
         {"return_grad", Py_False}}
    );
    const OpFunction run = [](const Call& c) {
        return focal(nullptr, c[2], c[3], {nullptr, c[0], c[1], c[4], c[5]});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* sigmoid_focal_loss_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "sigmoid_focal_loss_backward", 3,
        {{"dloss", nullptr},
         {"logits", nullptr},
         {"target", nullptr},
         {"alpha", PyFloat_FromDouble(0.25)},
         {"gamma", PyFloat_FromDouble(2)},
         {"reduction", reduction_name("none")}}
    );
    const OpFunction run = [](const Call& c) {
        return focal(nullptr, c[3], c[4], {c[0], c[1], c[2], c[5], nullptr});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* poly_focal_loss(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "poly_focal_loss", 2,
        {{"logits", nullptr},
         {"target", nullptr},
         {"epsilon", PyFloat_FromDouble(1)},
         {"alpha", PyFloat_FromDouble(0.25)},
         {"gamma", PyFloat_FromDouble(2)},
         {"reduction", reduction_name("none")},
         {"return_grad", Py_False}}
    );
    const OpFunction run = [](const Call& c) {
        return focal(c[2], c[3], c[4], {nullptr, c[0], c[1], c[5], c[6]});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

PyObject* poly_focal_loss_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
    static const Signature signature(
        "poly_focal_loss_backward", 3,
        {{"dloss", nullptr},
         {"logits", nullptr},
         {"target", nullptr},
         {"epsilon", PyFloat_FromDouble(1)},
         {"alpha", PyFloat_FromDouble(0.25)},
         {"gamma", PyFloat_FromDouble(2)},
         {"reduction", reduction_name("none")}}
    );
    const OpFunction run = [](const Call& c) {
        return focal(c[3], c[4], c[5], {c[0], c[1], c[2], c[6], nullptr});
    };
    return call_op(signature, run, args, nargs, kwnames);
}

}  // namespace

const PyMethodDef elementwise_loss_methods[] = {
    FASTNORM_METHOD(mse_loss, "prediction, target, *, reduction='mean', return_grad=False"),
    FASTNORM_METHOD(mse_loss_backward, "dloss, prediction, target, *, reduction='mean'"),
    FASTNORM_METHOD(
        sigmoid_focal_loss, "logits, target, *, alpha=0.25, gamma=2.0, reduction='none', return_grad=False"
    ),
    FASTNORM_METHOD(
        sigmoid_focal_loss_backward, "dloss, logits, target, *, alpha=0.25, gamma=2.0, reduction='none'"
    ),
    FASTNORM_METHOD(
        poly_focal_loss,
        "logits, target, *, epsilon=1.0, alpha=0.25, gamma=2.0, reduction='none', return_grad=False"
    ),
    FASTNORM_METHOD(
        poly_focal_loss_backward,
        "dloss, logits, target, *, epsilon=1.0, alpha=0.25, gamma=2.0, reduction='none'"
    ),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace fastnorm
