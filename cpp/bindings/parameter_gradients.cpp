#include "bindings/parameter_gradients.h"

namespace fastnorm {

namespace {

// Where the caller's order was not the array's, the rules have made the axes an object that knows it.
bool reorder(Reference& gradient, PyObject* axes) {
    if (!gradient || PyLong_CheckExact(axes) || PyTuple_CheckExact(axes)) return true;
    gradient = Reference(PyObject_CallMethod(axes, "user_order", "O", gradient.get()));
    return bool(gradient);
}

}  // namespace

bool ParameterGradients::create(const Array& x, const Axes& axes, bool has_weight, bool has_bias) {
    if (has_weight && !(dweight = new_parameter_gradient(x, axes))) return false;
    return !has_bias || (dbias = new_parameter_gradient(x, axes));
}

bool ParameterGradients::in_given_order(PyObject* axes) {
    return reorder(dweight, axes) && reorder(dbias, axes);
}

}  // namespace fastnorm
