#include "bindings/arrays.h"

#include <chrono>
#include <new>
#include <thread>

#include "runtime/cache.h"
#include "runtime/cpu.h"

namespace fastnorm {

// ---- geometry ---------------------------------------------------------------------------------------------

void Geometry::AxisList::append(const Array* arrays, int operand_count, int axis) {
    append_steps(arrays, operand_count, axis, arrays[0].shape()[axis], 1);
}

// Appends one axis, or lengthens the last one where every array walks over both in equal steps.
void Geometry::AxisList::append_steps(
    const Array* arrays, int operand_count, int axis, npy_intp length, npy_intp times
) {
    if (length == 1) return;
    bool merges = count > 0;
    for (int k = 0; k < operand_count && merges; ++k) {
        merges = stride[k][count - 1] == length * times * arrays[k].strides()[axis];
    }
    if (merges) {
        extent[count - 1] *= length;
    } else {
        extent[count++] = length;
    }
    for (int k = 0; k < operand_count; ++k) stride[k][count - 1] = times * arrays[k].strides()[axis];
}

void Geometry::AxisList::finish(int operand_count) {
    if (count > 0) return;
    count = 1;
    extent[0] = 1;
    for (int k = 0; k < operand_count; ++k) stride[k][0] = 0;
}

// Points rows and operands at the axis lists. Rows count as contiguous where their elements are neighbours
// and aligned.
void Geometry::use(const Array* arrays, int count) {
    rows.outer_axes = outer_.count;
    rows.inner_axes = inner_.count;
    rows.outer_extent = outer_.extent;
    rows.inner_extent = inner_.extent;
    for (int k = 0; k < count; ++k) {
        const std::int64_t size = item_size(arrays[k].element);
        bool contiguous = inner_.count == 1 && (inner_.stride[k][0] == size || inner_.extent[0] <= 1);
        std::uintptr_t misalignment = reinterpret_cast<std::uintptr_t>(arrays[k].data());
        for (int i = 0; i < outer_.count; ++i) misalignment |= std::uintptr_t(outer_.stride[k][i]);
        contiguous = contiguous && misalignment % std::uintptr_t(size) == 0;
        operands[k] = {arrays[k].data(), outer_.stride[k], inner_.stride[k], contiguous};
    }
}

void Geometry::use_contiguous(
    const Array* arrays, int count, std::int64_t row_count, std::int64_t col_count
) {
    outer_.count = inner_.count = 1;
    outer_.extent[0] = row_count;
    inner_.extent[0] = col_count;
    for (int k = 0; k < count; ++k) {
        inner_.stride[k][0] = item_size(arrays[k].element);
        outer_.stride[k][0] = col_count * inner_.stride[k][0];
    }
    use(arrays, count);
}

void Geometry::set_norm(const Array* arrays, int count, const Axes& axes) {
    const Array& x = arrays[0];
    rows.rows = rows.cols = 1;
    bool contiguous = axes.axis[0] == x.ndim() - axes.count;  // the axes are the trailing ones
    for (int i = 0; i < x.ndim(); ++i) (axes.contains(i) ? rows.cols : rows.rows) *= x.shape()[i];
    for (int k = 0; k < count; ++k) contiguous = contiguous && arrays[k].is_c_contiguous();
    if (contiguous) return use_contiguous(arrays, count, rows.rows, rows.cols);
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim(); ++i) (axes.contains(i) ? inner_ : outer_).append(arrays, count, i);
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_leading(const Array* arrays, int count, int first_column) {
    const Array& x = arrays[0];
    rows.rows = rows.cols = 1;
    bool contiguous = true;
    for (int i = 0; i < x.ndim(); ++i) (i < first_column ? rows.rows : rows.cols) *= x.shape()[i];
    for (int k = 0; k < count; ++k) contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(arrays[k].object);
    if (contiguous) return use_contiguous(arrays, count, rows.rows, rows.cols);
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim(); ++i) (i < first_column ? outer_ : inner_).append(arrays, count, i);
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_channel_groups(const Array* arrays, int count, int axis, std::int64_t group_channels) {
    const Array& x = arrays[0];
    rows.rows = x.shape()[axis];
    rows.cols = 1;
    outer_.count = inner_.count = 0;
    outer_.append_steps(arrays, count, axis, group_channels, 1);
    for (int i = 0; i < x.ndim(); ++i) {
        if (i == axis) {
            outer_.append_steps(arrays, count, axis, x.shape()[axis] / group_channels, group_channels);
        } else if (i == 0) {
            rows.rows *= x.shape()[i];
            outer_.append(arrays, count, i);
        } else {
            rows.cols *= x.shape()[i];
            inner_.append(arrays, count, i);
        }
    }
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_elementwise(const Array* arrays, int count) {
    const Array& x = arrays[0];
    rows.rows = 1;
    rows.cols = x.size();
    bool contiguous = true;
    for (int k = 0; k < count; ++k) contiguous = contiguous && arrays[k].is_c_contiguous();
    if (contiguous) return use_contiguous(arrays, count, 1, rows.cols);

    // Axes by the steps of the result, the longest first: the last axis is then the one to run along.
    int order[NPY_MAXDIMS];
    const npy_intp* steps = arrays[count - 1].strides();
    for (int i = 0; i < x.ndim(); ++i) {
        int place = i;
        for (; place > 0 && std::abs(steps[order[place - 1]]) < std::abs(steps[i]); --place)
            order[place] = order[place - 1];
        order[place] = i;
    }
    AxisList all;
    all.count = 0;
    for (int i = 0; i < x.ndim(); ++i) all.append(arrays, count, order[i]);
    all.finish(count);
    const int last = all.count - 1;
    outer_.count = inner_.count = 0;
    for (int i = 0; i <= last; ++i) {
        AxisList& list = i == last ? inner_ : outer_;
        list.extent[list.count] = all.extent[i];
        for (int k = 0; k < count; ++k) list.stride[k][list.count] = all.stride[k][i];
        ++list.count;
    }
    outer_.finish(count);
    rows.cols = inner_.extent[0];
    rows.rows = rows.cols == 0 ? 0 : x.size() / rows.cols;
    use(arrays, count);
}

bool Geometry::all_contiguous(int count) const {
    for (int k = 0; k < count; ++k) {
        if (!operands[k].contiguous) return false;
    }
    return true;
}

// ---- new arrays -------------------------------------------------------------------------------------------

namespace {

// The capsule that an array from the cache has as its base; the context holds the size.
void release_capsule(PyObject* capsule) {
    release_block(
        PyCapsule_GetPointer(capsule, nullptr), reinterpret_cast<std::size_t>(PyCapsule_GetContext(capsule))
    );
}

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

}  // namespace

namespace {

// Where a large result begins within a page: half a page from where x does. A load that follows a store to
// the same place of another page waits for it, so results that keep the distance of x take less time: 16384 x
// 4096 float32 on one Ice Lake core, at no distance, 64 bytes and half a page: copy 33, 40 and 30 ms,
// layer_norm 44, 46 and 38, gelu 41, 91 and 40.
constexpr std::size_t page_bytes = 4096;
std::size_t offset_in_page(const char* x) {
    return (reinterpret_cast<std::uintptr_t>(x) + page_bytes / 2) % page_bytes / 64 * 64;
}

}  // namespace

NewArray new_like(const Array& x) { return new_like(x, x.shape()); }

NewArray new_like(const Array& x, const npy_intp* shape) {
    PyArray_Descr* descr = PyArray_DESCR(x.object);
    npy_intp strides[NPY_MAXDIMS];
    const npy_intp* layout = nullptr;
    if (!PyArray_IS_C_CONTIGUOUS(x.object)) {
        dense_strides_like(x, shape, strides);
        layout = strides;
    }
    const std::size_t bytes =
        std::size_t(PyArray_MultiplyList(shape, x.ndim()) * item_size(x.element)) + page_bytes;
    const Block block = bytes >= smallest_cached_bytes + page_bytes ? acquire_block(bytes) : Block{};
    if (!block.data) {
        Py_INCREF(descr);
        PyObject* array = PyArray_NewFromDescr(
            &PyArray_Type, descr, x.ndim(), const_cast<npy_intp*>(shape), layout, nullptr, 0, nullptr
        );
        return {Reference(array), false};
    }
    Reference owner(PyCapsule_New(block.data, nullptr, release_capsule));
    if (!owner || PyCapsule_SetContext(owner.get(), reinterpret_cast<void*>(bytes)) < 0) {
        if (!owner) release_block(block.data, bytes);
        return {};
    }
    Py_INCREF(descr);
    char* data = static_cast<char*>(block.data) + offset_in_page(x.data());
    Reference array(PyArray_NewFromDescr(
        &PyArray_Type, descr, x.ndim(), const_cast<npy_intp*>(shape), layout, data, NPY_ARRAY_WRITEABLE,
        nullptr
    ));
    if (!array || PyArray_SetBaseObject(array.array(), owner.release()) < 0) return {};
    return {std::move(array), block.warm};
}

Reference new_array(int ndim, const npy_intp* shape, int type_number) {
    return Reference(PyArray_EMPTY(ndim, const_cast<npy_intp*>(shape), type_number, 0));
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
Parameter in_compute_type(const Array& array, const Array& x) {
    Parameter parameter;
    const int type_number = compute_type_number(x.element);
    if (PyArray_TYPE(array.object) == type_number && PyArray_IS_C_CONTIGUOUS(array.object) &&
        PyArray_ISALIGNED(array.object)) {
        Py_INCREF(array.object);
        parameter.array = Reference(reinterpret_cast<PyObject*>(array.object));
    } else {
        parameter.array = Reference(PyArray_FromArray(
            array.object, PyArray_DescrFromType(type_number), NPY_ARRAY_CARRAY | NPY_ARRAY_FORCECAST
        ));
        parameter.failed = !parameter.array;
    }
    return parameter;
}

Parameter not_canonical_parameter() {
    Parameter parameter;
    parameter.canonical = false;
    return parameter;
}

}  // namespace

Parameter as_parameter(PyObject* slot, const Array& x, const Axes& axes) {
    if (slot == Py_None) return {};
    const std::optional<Array> array = as_array(slot);
    if (!array || array->ndim() != axes.count) return not_canonical_parameter();
    if (array->element != x.element && array->element != compute_element(x.element))
        return not_canonical_parameter();
    for (int i = 0; i < axes.count; ++i) {
        if (array->shape()[i] != x.shape()[axes.axis[i]]) return not_canonical_parameter();
    }
    return in_compute_type(*array, x);
}

Parameter as_vector(PyObject* slot, const Array& x, npy_intp length) {
    if (slot == Py_None) return {};
    const std::optional<Array> array = as_array(slot);
    if (!array || array->ndim() != 1 || array->shape()[0] != length) return not_canonical_parameter();
    if (array->element != x.element && array->element != compute_element(x.element))
        return not_canonical_parameter();
    return in_compute_type(*array, x);
}

Parameter as_statistic(PyObject* slot, const Array& x, const Axes& axes) {
    const std::optional<Array> array = as_array(slot);
    if (!array || array->element != compute_element(x.element) || array->ndim() != x.ndim() - axes.count) {
        return not_canonical_parameter();
    }
    int kept = 0;
    for (int i = 0; i < x.ndim(); ++i) {
        if (!axes.contains(i) && array->shape()[kept++] != x.shape()[i]) return not_canonical_parameter();
    }
    return in_compute_type(*array, x);
}

// ---- the GIL ----------------------------------------------------------------------------------------------

// When the interpreter shuts down, Python before 3.14 ends a daemon thread that asks for the GIL by unwinding
// its stack. The destructors on the way would drop references without the GIL, so the thread stops here until
// the process ends, as newer versions make it.
void ReleasedGil::restore(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

// ---- memory -----------------------------------------------------------------------------------------------

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes <= inline_bytes) {
        origin_ = Origin::inside;
        data_ = inside_;
    } else if (bytes >= smallest_cached_bytes) {
        origin_ = Origin::cache;
        data_ = acquire_block(bytes).data;
    } else {
        origin_ = Origin::heap;
        data_ = ::operator new(bytes, std::align_val_t(64), std::nothrow);
    }
}

Buffer::~Buffer() {
    if (origin_ == Origin::cache) release_block(data_, bytes_);
    if (origin_ == Origin::heap) ::operator delete(data_, std::align_val_t(64));
}

}  // namespace fastnorm
