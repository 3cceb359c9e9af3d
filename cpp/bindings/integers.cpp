#include "bindings/integers.h"

#include "bindings/run.h"

namespace fastnorm {

Reference copy_integers(PyArrayObject* array) {
    const int flags = NPY_ARRAY_CARRAY | NPY_ARRAY_ENSURECOPY | NPY_ARRAY_FORCECAST;
    return Reference(PyArray_FromArray(array, PyArray_DescrFromType(NPY_INT64), flags));
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
