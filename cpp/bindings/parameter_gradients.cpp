#include "bindings/parameter_gradients.h"

namespace fastnorm {

namespace {

bool reorder(Reference& gradient, PyObject* axis, int ndim) {
    if (!gradient || !PyTuple_Check(axis)) return true;
    const Reference rules(PyImport_ImportModule("fastnorm._arguments"));
    if (!rules) return false;
    gradient = Reference(PyObject_CallMethod(rules.get(), "user_order", "OOi", gradient.get(), axis, ndim));
    return bool(gradient);
}

}  // namespace

bool ParameterGradients::create(const Array& x, const Axes& axes, bool has_weight, bool has_bias) {
    if (has_weight && !(dweight = new_parameter_gradient(x, axes))) return false;
    return !has_bias || (dbias = new_parameter_gradient(x, axes));
}

bool ParameterGradients::in_given_order(PyObject* axis, int ndim) {
    return reorder(dweight, axis, ndim) && reorder(dbias, axis, ndim);
}

}  // namespace fastnorm
