#include "bindings/arrays.h"

#include <algorithm>
#include <cstdlib>

#include "bindings/recycled.h"
#include "bindings/run.h"
#include "runtime/cache.h"

namespace fastnorm {

// ---- new arrays -------------------------------------------------------------------------------------------

namespace {

// The strides of a dense array of this shape whose axes lie in memory in the order that those of x do, as
// NumPy's ufuncs give.
void dense_strides_like(const Array& x, const npy_intp* shape, npy_intp* strides) {
    int order[NPY_MAXDIMS];
    for (int i = 0; i < x.ndim(); ++i) {
        int place = i;
        for (; place > 0 && std::abs(x.strides()[order[place - 1]]) < std::abs(x.strides()[i]); --place) {
            order[place] = order[place - 1];
        }
        order[place] = i;
    }
    npy_intp step = npy_intp(item_size(x.element));
    for (int i = x.ndim() - 1; i >= 0; --i) {
        strides[order[i]] = step;
        step *= std::max<npy_intp>(shape[order[i]], 1);
    }
}

// Where a large result begins within a page: half a page from where x does. A load that follows a store to
// the same place of another page waits for it, so results that keep the distance of x take less time: 16384 x
// 4096 float32 on one Ice Lake core, at no distance, 64 bytes and half a page: copy 33, 40 and 30 ms,
// layer_norm 44, 46 and 38, gelu 41, 91 and 40.
constexpr std::size_t page_bytes = recycled_front_limit;
std::size_t offset_in_page(const char* x) {
    const std::size_t offset = (reinterpret_cast<std::uintptr_t>(x) + page_bytes / 2) % page_bytes / 64 * 64;
    return std::max(offset, recycled_front);
}

}  // namespace

namespace {

// `layout` has the strides, null for those of a contiguous array.
NewArray new_result(
    const Array& x, int ndim, const npy_intp* shape, const npy_intp* layout, Element element
) {
    const std::size_t bytes = std::size_t(PyArray_MultiplyList(shape, ndim) * item_size(element));
    const RecycledMemory memory =
        bytes >= smallest_cached_bytes ? acquire_recycled(bytes, offset_in_page(x.data())) : RecycledMemory{};
    Reference array(PyArray_NewFromDescr(
        &PyArray_Type, descr_of(element), ndim, const_cast<npy_intp*>(shape), layout, memory.data,
        memory.data ? NPY_ARRAY_WRITEABLE : 0, nullptr
    ));
    if (!memory.data) return {std::move(array), false};
    if (!array) {
        release_recycled(memory.data);
        return {};
    }
    own_recycled(array.array());
    return {std::move(array), memory.warm};
}

thread_local PyArrayObject* destination = nullptr;

bool has_layout(PyArrayObject* array, const Array& x) {
    npy_intp dense[NPY_MAXDIMS];
    dense_strides_like(x, x.shape(), dense);
    return PyArray_TYPE(array) == type_number_of(x.element) && PyArray_NDIM(array) == x.ndim() &&
           std::equal(x.shape(), x.shape() + x.ndim(), PyArray_DIMS(array)) &&
           std::equal(dense, dense + x.ndim(), PyArray_STRIDES(array));
}

}  // namespace

Destination::Destination(PyArrayObject* array) noexcept : before_(destination) { destination = array; }
Destination::~Destination() { destination = before_; }

NewArray new_like(const Array& x) {
    if (destination && has_layout(destination, x)) {
        PyObject* const array = reinterpret_cast<PyObject*>(destination);
        destination = nullptr;
        return {Reference(Py_NewRef(array)), true};
    }
    return new_like(x, x.shape());
}

NewArray new_like(const Array& x, const npy_intp* shape) {
    npy_intp strides[NPY_MAXDIMS];
    const npy_intp* layout = nullptr;
    if (!x.is_c_contiguous()) {
        dense_strides_like(x, shape, strides);
        layout = strides;
    }
    return new_result(x, x.ndim(), shape, layout, x.element);
}

NewArray new_beside(const Array& x, int ndim, const npy_intp* shape, Element element) {
    return new_result(x, ndim, shape, nullptr, element);
}

Reference new_array(int ndim, const npy_intp* shape, int type_number) {
    PyArray_Descr* descr = PyArray_DescrFromType(type_number);
    return Reference(PyArray_NewFromDescr(
        &PyArray_Type, descr, ndim, const_cast<npy_intp*>(shape), nullptr, nullptr, 0, nullptr
    ));
}

Reference new_statistic(const Array& x, const Axes& axes) {
    npy_intp shape[NPY_MAXDIMS];
    int ndim = 0;
    for (int i = 0; i < x.ndim(); ++i) {
        if (!axes.contains(i)) shape[ndim++] = x.shape()[i];
    }
    return new_array(ndim, shape, compute_type_number(x.element));
}

Reference new_parameter_gradient(const Array& x, const Axes& axes) {
    npy_intp shape[NPY_MAXDIMS];
    for (int i = 0; i < axes.count; ++i) shape[i] = x.shape()[axes.axis[i]];
    return new_array(axes.count, shape, compute_type_number(x.element));
}

// ---- parameters and statistics ----------------------------------------------------------------------------

namespace {

// `array` as contiguous, aligned memory of the compute type of x.
Parameter in_compute_type(Array& array, Array& x) {
    Parameter parameter;
    parameter.array = as_contiguous(array, compute_type_number(x.element), x);
    parameter.failed = !parameter.array;
    return parameter;
}

Parameter not_canonical_parameter() {
    Parameter parameter;
    parameter.canonical = false;
    return parameter;
}

}  // namespace

Parameter as_parameter(PyObject* slot, Array& x, const Axes& axes) {
    if (slot == Py_None) return {};
    MaybeArray array = as_array(slot);
    if (!array || array->ndim() != axes.count) return not_canonical_parameter();
    if (array->element != x.element && array->element != compute_element(x.element))
        return not_canonical_parameter();
    for (int i = 0; i < axes.count; ++i) {
        if (array->shape()[i] != x.shape()[axes.axis[i]]) return not_canonical_parameter();
    }
    return in_compute_type(*array, x);
}

bool add_offset(Parameter& weight, double offset, Array& x, const Axes& axes) {
    if (!weight.array || offset == 0) return true;
    x.fix();
    PyArrayObject* before = weight.array.array();
    Reference sum = new_parameter_gradient(x, axes);
    if (!sum) return false;
    const npy_intp size = PyArray_SIZE(sum.array());
    const void* const given = PyArray_DATA(before);
    void* const shifted = PyArray_DATA(sum.array());
    {
        const ReleasedGil released(double(size) > gil_nanoseconds);
        if (x.element == Element::float64) {
            const double* from = static_cast<const double*>(given);
            double* to = static_cast<double*>(shifted);
            for (npy_intp i = 0; i < size; ++i) to[i] = from[i] + offset;
        } else {
            const float* from = static_cast<const float*>(given);
            float* to = static_cast<float*>(shifted);
            for (npy_intp i = 0; i < size; ++i) to[i] = float(from[i] + offset);
        }
    }
    weight.array = std::move(sum);
    return true;
}

Parameter as_vector(PyObject* slot, Array& x, Array& weight) {
    if (slot == Py_None) return {};
    MaybeArray array = as_array(slot);
    if (!array || array->ndim() != 1 || array->shape()[0] != weight.shape()[1])
        return not_canonical_parameter();
    if (array->element != x.element && array->element != compute_element(x.element))
        return not_canonical_parameter();
    if (!array->is_plain() || array->element != compute_element(x.element)) weight.fix();
    return in_compute_type(*array, x);
}

Parameter as_statistic(PyObject* slot, Array& x, const Axes& axes) {
    MaybeArray array = as_array(slot);
    if (!array || array->element != compute_element(x.element) || array->ndim() != x.ndim() - axes.count) {
        return not_canonical_parameter();
    }
    int kept = 0;
    for (int i = 0; i < x.ndim(); ++i) {
        if (!axes.contains(i) && array->shape()[kept++] != x.shape()[i]) return not_canonical_parameter();
    }
    return in_compute_type(*array, x);
}

}  // namespace fastnorm
