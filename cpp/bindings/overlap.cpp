#include "bindings/overlap.h"

namespace fastnorm {

namespace {

Extent extent_of(
    const char* data, std::int64_t item, int ndim, const npy_intp* shape, const npy_intp* strides
) {
    const char* begin = data;
    const char* end = begin + item;
    for (int i = 0; i < ndim; ++i) {
        if (shape[i] == 0) return {begin, begin};
        const npy_intp reach = (shape[i] - 1) * strides[i];
        (reach < 0 ? begin : end) += reach;
    }
    return {begin, end};
}

}  // namespace

Extent extent_of(const Array& array) {
    return extent_of(array.data(), item_size(array.element), array.ndim(), array.shape(), array.strides());
}

Extent extent_of(PyArrayObject* array) {
    return extent_of(
        PyArray_BYTES(array), PyArray_ITEMSIZE(array), PyArray_NDIM(array), PyArray_DIMS(array),
        PyArray_STRIDES(array)
    );
}

bool are_apart(Extent a, Extent b) { return a.end <= b.begin || b.end <= a.begin; }
bool are_apart(const Array& a, const Array& b) { return are_apart(extent_of(a), extent_of(b)); }

bool same_elements(const Array& a, const Array& b) {
    if (a.data() != b.data() || a.element != b.element || !same_shape(a, b)) return false;
    for (int i = 0; i < a.ndim(); ++i) {
        if (a.shape()[i] > 1 && a.strides()[i] != b.strides()[i]) return false;
    }
    return true;
}

bool is_valid_out(const Array& out, const Array& x, std::initializer_list<PyObject*> inputs, bool checked) {
    return is_valid_out(out, x, x.ndim(), x.shape(), inputs, checked);
}

bool is_valid_out(
    const Array& out, const Array& x, int ndim, const npy_intp* shape,
    std::initializer_list<PyObject*> inputs, bool checked
) {
    const bool fits =
        out.element == x.element && out.ndim() == ndim && PyArray_CompareLists(out.shape(), shape, ndim);
    if (!fits || !PyArray_ISWRITEABLE(out.object)) return false;
    if (checked) return true;
    // Elements that share memory are for fastnorm._arguments to refuse.
    if (!out.is_c_contiguous()) return false;
    for (PyObject* slot : inputs) {
        if (slot == Py_None) continue;
        const MaybeArray input = as_array(slot);
        if (!input) return false;
        if (same_elements(out, *input)) continue;
        if (!are_apart(out, *input)) return false;
    }
    return true;
}

}  // namespace fastnorm
