#include "bindings/channels.h"

#include <cstring>

namespace fastnorm {

bool as_channel_axis(PyObject* slot, int ndim, Axes& axes) {
    return PyLong_CheckExact(slot) && as_axes(slot, ndim, axes);
}

Reference channel_gradient_like(const Parameter& parameter, const Array& x, const Axes& axes, void*& values) {
    values = nullptr;
    if (!parameter.array) {
        Py_INCREF(Py_None);
        return Reference(Py_None);
    }
    Reference gradient = new_parameter_gradient(x, axes);
    if (gradient) values = PyArray_DATA(gradient.array());
    return gradient;
}

void clear_gradient(const Reference& gradient) {
    if (gradient.get() != Py_None)
        std::memset(PyArray_DATA(gradient.array()), 0, std::size_t(PyArray_NBYTES(gradient.array())));
}

}  // namespace fastnorm
