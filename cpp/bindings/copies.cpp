#include "bindings/copies.h"

#include "bindings/run.h"

namespace fastnorm {

namespace {

// Of an array of our own over the memory, to which nobody gives another shape meanwhile.
Reference copy_of(const Array& from, PyArray_Descr* descr, int type_number) {
    const Reference view(PyArray_NewFromDescr(
        &PyArray_Type, descr, from.ndim(), from.shape(), from.strides(), from.data(), 0, nullptr
    ));
    if (!view) return {};
    PyObject* const owner = Py_NewRef(reinterpret_cast<PyObject*>(from.object));
    if (PyArray_SetBaseObject(view.array(), owner) < 0) return {};
    const int flags = NPY_ARRAY_CARRAY | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSURECOPY;
    return Reference(PyArray_FromArray(view.array(), PyArray_DescrFromType(type_number), flags));
}

}  // namespace

Reference new_copy(Array& array, int type_number) {
    array.fix();
    return copy_of(array, descr_of(array.element), type_number);
}

Reference new_copy(Array& array) { return new_copy(array, type_number_of(array.element)); }

Reference as_contiguous(Array& array, int type_number, Array& x) {
    if (array.is_plain() && type_number == type_number_of(array.element))
        return Reference(Py_NewRef(reinterpret_cast<PyObject*>(array.object)));
    x.fix();
    return new_copy(array, type_number);
}

Reference copy_integers(PyArrayObject* array, Array& x) {
    x.fix();
    PyArray_Descr* const descr = PyArray_DESCR(array);
    Py_INCREF(descr);
    return copy_of(Array(array), descr, NPY_INT64);
}

bool are_below(const Reference& integers, std::int64_t limit) {
    const std::int64_t* numbers = static_cast<const std::int64_t*>(PyArray_DATA(integers.array()));
    const std::int64_t count = PyArray_SIZE(integers.array());
    const ReleasedGil released(double(count) > gil_nanoseconds);
    bool all = true;
    for (std::int64_t i = 0; i < count; ++i) all &= std::uint64_t(numbers[i]) < std::uint64_t(limit);
    return all;
}

}  // namespace fastnorm
