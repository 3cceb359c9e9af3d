#include "bindings/arguments.h"

#include <atomic>
#include <cmath>
#include <cstring>

namespace fastnorm {

namespace {

// ml_dtypes registers bfloat16 with NumPy at run time; its type number is learnt from the first such array.
std::atomic<int> bfloat16_type_number{-1};

bool is_bfloat16(int type_number) {
    const int known = bfloat16_type_number.load(std::memory_order_relaxed);
    if (known >= 0) return type_number == known;
    PyObject* modules = PyImport_GetModuleDict();
    PyObject* ml_dtypes = PyDict_GetItemString(modules, "ml_dtypes");
    if (!ml_dtypes) return false;
    const Reference type(PyObject_GetAttrString(ml_dtypes, "bfloat16"));
    PyArray_Descr* descr = nullptr;
    if (!type || !PyArray_DescrConverter(type.get(), &descr)) {
        PyErr_Clear();
        return false;
    }
    const int found = descr->type_num;
    Py_DECREF(descr);
    bfloat16_type_number.store(found, std::memory_order_relaxed);
    return type_number == found;
}

// More elements than memory holds, as broadcast views may have, or lengths beside 0 that come to as much:
// planning multiplies such numbers. NumPy sees to it that they have a product.
bool is_enormous(PyArrayObject* array) {
    std::int64_t elements = 1;
    for (int i = 0; i < PyArray_NDIM(array); ++i) {
        if (PyArray_DIM(array, i) > 1) elements *= PyArray_DIM(array, i);
    }
    return elements > most_elements;
}

}  // namespace

void Array::set_panels(PyObject* packed, void* panels, Element type, const npy_intp* shape) {
    object = reinterpret_cast<PyArrayObject*>(packed);
    element = type;
    data_ = static_cast<char*>(panels);
    ndim_ = 2;
    own_[0] = shape[0], own_[1] = shape[1], own_[2] = own_[3] = 0;
    shape_ = own_, strides_ = own_ + 2;
    in_panels_ = true;
}

void Array::fix() {
    if (shape_ == own_) return;
    std::copy_n(shape_, ndim_, own_);
    std::copy_n(strides_, ndim_, own_ + ndim_);
    shape_ = own_;
    strides_ = own_ + ndim_;
}

Array& Array::operator=(const Array& other) {
    object = other.object;
    element = other.element;
    data_ = other.data_;
    shape_ = other.shape_;
    strides_ = other.strides_;
    ndim_ = other.ndim_;
    contiguous_ = other.contiguous_;
    in_panels_ = other.in_panels_;
    if (shape_ == other.own_) fix();
    return *this;
}

Array Array::half(int axis, int number) const {
    Array part = *this;
    part.fix();
    part.own_[axis] /= 2;
    part.data_ += number * part.own_[axis] * strides_[axis];
    part.contiguous_ = false;
    return part;
}

MaybeArray as_array(PyObject* slot) {
    MaybeArray found;
    if (!PyArray_CheckExact(slot)) return found;
    PyArrayObject* const array = reinterpret_cast<PyArrayObject*>(slot);
    Element element;
    switch (const int type_number = PyArray_TYPE(array)) {
        case NPY_FLOAT:
            element = Element::float32;
            break;
        case NPY_DOUBLE:
            element = Element::float64;
            break;
        case NPY_HALF:
            element = Element::float16;
            break;
        default:
            if (type_number < NPY_USERDEF || !is_bfloat16(type_number)) return found;
            element = Element::bfloat16;
    }
    if (!PyArray_ISBYTESWAPPED(array) && !is_enormous(array)) found.set(array, element);
    return found;
}

int type_number_of(Element element) {
    constexpr int numbers[] = {NPY_FLOAT, NPY_DOUBLE, NPY_HALF};
    static_assert(int(Element::float32) == 0 && int(Element::float64) == 1 && int(Element::float16) == 2);
    if (element != Element::bfloat16) return numbers[int(element)];
    return bfloat16_type_number.load(std::memory_order_relaxed);
}

PyArray_Descr* descr_of(Element element) { return PyArray_DescrFromType(type_number_of(element)); }

bool same_shape(const Array& a, const Array& b) {
    return a.ndim() == b.ndim() && PyArray_CompareLists(a.shape(), b.shape(), a.ndim());
}

bool as_axes(PyObject* slot, int ndim, Axes& axes) {
    const bool is_tuple = PyTuple_Check(slot);
    const Py_ssize_t count = is_tuple ? PyTuple_GET_SIZE(slot) : 1;
    if (count > ndim || (count < 1 && ndim > 0)) return false;
    axes.count = int(count);
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* number = is_tuple ? PyTuple_GET_ITEM(slot, i) : slot;
        if (!PyLong_CheckExact(number)) return false;
        int overflow = 0;
        long axis = PyLong_AsLongAndOverflow(number, &overflow);
        if (overflow || axis < -ndim || axis >= ndim) return false;
        if (axis < 0) axis += ndim;
        if (i > 0 && axis <= axes.axis[i - 1]) return false;
        axes.axis[i] = int(axis);
    }
    return true;
}

bool as_axis(PyObject* slot, int ndim, Axes& axes) {
    return PyLong_CheckExact(slot) && as_axes(slot, ndim, axes);
}

std::optional<double> as_number(PyObject* slot, double minimum) {
    if (!PyFloat_CheckExact(slot)) return std::nullopt;
    const double value = PyFloat_AS_DOUBLE(slot);
    if (!std::isfinite(value) || value < minimum) return std::nullopt;
    return value;
}

std::optional<bool> as_flag(PyObject* slot) {
    if (slot == Py_False) return false;
    if (slot == Py_True) return true;
    return std::nullopt;
}

std::optional<double> as_fraction(PyObject* slot) {
    if (slot == Py_None) return 1.0;
    const std::optional<double> value = as_number(slot, 0);
    if (!value || *value <= 0 || *value > 1) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> as_seed(PyObject* slot) {
    if (!PyLong_CheckExact(slot)) return std::nullopt;
    const unsigned long long seed = PyLong_AsUnsignedLongLong(slot);
    if (!PyErr_Occurred()) return std::uint64_t(seed);
    PyErr_Clear();
    return std::nullopt;
}

}  // namespace fastnorm
