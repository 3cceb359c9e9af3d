#include "bindings/labels.h"

#include "bindings/reductions.h"
#include "bindings/run.h"

namespace fastnorm {

bool as_share(PyObject* slot, double& value) {
    if (!slot) return true;
    const std::optional<double> number = as_number(slot, 0);
    if (!number || *number > 1) return false;
    value = *number;
    return true;
}

std::optional<std::int64_t> as_class(PyObject* slot) {
    if (!PyLong_CheckExact(slot)) return std::nullopt;
    int overflow = 0;
    const std::int64_t number = PyLong_AsLongLongAndOverflow(slot, &overflow);
    return overflow ? std::nullopt : std::optional(number);
}

namespace {

Labels not_labels() {
    Labels labels;
    labels.canonical = false;
    return labels;
}

}  // namespace

Labels as_labels(
    PyObject* slot, Array& x, const Axes& axes, std::int64_t classes, std::optional<std::int64_t> ignored
) {
    if (!PyArray_CheckExact(slot)) return not_labels();
    PyArrayObject* given = reinterpret_cast<PyArrayObject*>(slot);
    if (!PyArray_ISINTEGER(given) || PyArray_ISBYTESWAPPED(given)) return not_labels();
    if (PyArray_NDIM(given) != x.ndim() - 1) return not_labels();
    int kept = 0;
    for (int i = 0; i < x.ndim(); ++i) {
        if (!axes.contains(i) && PyArray_DIM(given, kept++) != x.shape()[i]) return not_labels();
    }
    // No unsigned number is a negative one, though it may be converted to it.
    if (PyArray_ISUNSIGNED(given) && ignored && *ignored < 0) ignored.reset();
    const std::int64_t count = PyArray_SIZE(given);
    const double nanoseconds = double(count);
    Labels labels;
    labels.array = PyArray_TYPE(given) == NPY_INT64 && PyArray_ISCARRAY_RO(given) ? Reference(Py_NewRef(slot))
                                                                                  : copy_integers(given, x);
    if (!labels.array) return labels;
    bool all_valid = true, is_class = false;
    {
        const ReleasedGil released(nanoseconds > gil_nanoseconds);
        const std::int64_t* values = labels.data();
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t value = values[i];
            const bool in_range = std::uint64_t(value) < std::uint64_t(classes);
            all_valid = all_valid && (in_range || value == ignored);
            is_class = is_class || (in_range && value == ignored);
        }
    }
    if (!all_valid) return not_labels();
    if (is_class) {
        // Of as many as there are rows, whatever has become of the caller's array.
        const npy_intp shape = count;
        Reference own = new_array(1, &shape, NPY_INT64);
        if (own) {
            const ReleasedGil released(nanoseconds > gil_nanoseconds);
            const std::int64_t* values = labels.data();
            std::int64_t* marked = static_cast<std::int64_t*>(PyArray_DATA(own.array()));
            for (std::int64_t i = 0; i < count; ++i) marked[i] = values[i] == ignored ? -1 : values[i];
        }
        labels.array = std::move(own);
    }
    return labels;
}

Parameter as_row_gradient(PyObject* slot, Array& x, const Axes& axes) {
    Parameter gradient;
    MaybeArray array = as_array(slot);
    gradient.canonical = array && array->element == x.element && array->ndim() == x.ndim() - 1;
    int kept = 0;
    for (int i = 0; i < x.ndim() && gradient.canonical; ++i) {
        if (!axes.contains(i)) gradient.canonical = array->shape()[kept++] == x.shape()[i];
    }
    if (!gradient.canonical) return gradient;
    gradient.array = as_contiguous(*array, compute_type_number(x.element), x);
    gradient.failed = !gradient.array;
    return gradient;
}

Reference new_losses(const Array& x, const Axes& axes) {
    npy_intp shape[NPY_MAXDIMS];
    int ndim = 0;
    for (int i = 0; i < x.ndim(); ++i) {
        if (!axes.contains(i)) shape[ndim++] = x.shape()[i];
    }
    return new_array(ndim, shape, type_number_of(x.element));
}

Reference loss_result(Reference losses, double reduced, const Array& x) {
    if (!losses) return Reference(new_scalar(reduced, x.element));
    if (x.ndim() > 1) return losses;
    return Reference(PyArray_Return(reinterpret_cast<PyArrayObject*>(losses.release())));
}

}  // namespace fastnorm
