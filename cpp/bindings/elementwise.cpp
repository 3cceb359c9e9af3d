#include "bindings/elementwise.h"

#include "bindings/overlap.h"

namespace fastnorm {

bool broadcasts_to(const Array& parameter, const Array& x) {
    const int missing = x.ndim() - parameter.ndim();
    for (int i = std::max(missing, 0); i < x.ndim(); ++i) {
        const npy_intp length = parameter.shape()[i - missing];
        if (length != 1 && length != x.shape()[i]) return false;
    }
    return missing >= 0;
}

Result result_like(const Array& x, const Out& out, std::initializer_list<PyObject*> inputs) {
    Result result;
    if (out.array != Py_None) {
        const MaybeArray array = as_array(out.array);
        result.canonical = array && is_valid_out(*array, x, inputs, out.checked);
        if (!result.canonical) return result;
        result.object = Reference(Py_NewRef(out.given));
        result.array = *array;
    } else {
        NewArray fresh = new_like(x);
        result.object = std::move(fresh.array);
        result.warm = fresh.warm;
        if (result.object) result.array = Array(result.object.array(), x.element);
    }
    return result;
}

}  // namespace fastnorm
