#include "bindings/elementwise.h"

namespace fastnorm {

std::size_t describe(
    Geometry& geometry, Elementwise& task, const Array* arrays, int inputs, int results, bool warm
) {
    const int count = inputs + results;
    geometry.set_elementwise(arrays, count);
    task.shape = geometry.rows;
    task.stream = warm && count * arrays[inputs].bytes() > stream_bytes;
    std::int64_t scratch = 0;
    for (int k = 0; k < count; ++k) {
        task.operands[k] = geometry.operands[k];
        if (!geometry.operands[k].contiguous) scratch += segment_elements * item_size(arrays[k].element);
        // A result that replaces an input is in the cache when it is written.
        if (k < inputs && arrays[k].data() == arrays[inputs].data()) task.stream = false;
    }
    return std::size_t(scratch);
}

Result result_like(const Array& x, const Out& out, std::initializer_list<PyObject*> inputs) {
    Result result;
    if (out.array != Py_None) {
        const std::optional<Array> array = as_array(out.array);
        result.canonical = array && is_valid_out(*array, x, inputs, out.checked);
        if (!result.canonical) return result;
        result.object = Reference(Py_NewRef(out.given));
        result.array = *array;
    } else {
        NewArray fresh = new_like(x);
        result.object = std::move(fresh.array);
        result.warm = fresh.warm;
        if (result.object) result.array = Array{result.object.array(), x.element};
    }
    return result;
}

}  // namespace fastnorm
