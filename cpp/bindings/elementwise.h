// Running the kernels of element-wise ops, and the result that an op writes to.
#pragma once

#include "bindings/arrays.h"
#include "bindings/op.h"
#include "bindings/run.h"
#include "plan/elementwise.h"

namespace fastnorm {

// Plans and runs a kernel over `inputs` inputs, then results, all of one shape and type. `warm` as in
// NewArray. It takes one thread `nanoseconds` for an element in float32. False with an error set where there
// is no memory.
template <class Task>
bool run_elementwise(
    const Kernels<Task>& table, Task task, const View* arrays, int inputs, int results, bool warm,
    double nanoseconds
) {
    Geometry geometry;
    const Work work = plan_elementwise(task, geometry, arrays, inputs, results, warm, nanoseconds);
    return run_kernel(table[int(arrays[inputs].element)], task, work);
}

// Whether a parameter broadcasts to x's shape.
bool broadcasts_to(const Array& parameter, const Array& x);

// Where a forward writes: the array of `out`, or a new one.
struct Result {
    bool canonical = true;
    Reference object;  // what the op returns; empty with an error set where there is no memory
    Array array;
    bool warm = true;
};

// For a result like x, given the argument `out` and the inputs of the call.
Result result_like(const Array& x, const Out& out, std::initializer_list<PyObject*> inputs);

}  // namespace fastnorm
