#include "bindings/elementwise.h"

namespace fastnorm {

Result result_like(const Array& x, const Call& call, int out_slot, std::initializer_list<PyObject*> inputs) {
    Result result;
    if (call[out_slot] != Py_None) {
        const std::optional<Array> out = as_array(call[out_slot]);
        result.canonical = out && is_valid_out(*out, x, inputs, call.checked());
        if (!result.canonical) return result;
        Py_INCREF(call.given[out_slot]);
        result.object = Reference(call.given[out_slot]);
        result.array = *out;
    } else {
        NewArray fresh = new_like(x);
        result.object = std::move(fresh.array);
        result.warm = fresh.warm;
        if (result.object) result.array = Array{result.object.array(), x.element};
    }
    return result;
}

}  // namespace fastnorm
