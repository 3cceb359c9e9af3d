// Running the kernels of element-wise ops, and the result that an op writes to.
#pragma once

#include <algorithm>

#include "bindings/arrays.h"
#include "bindings/op.h"
#include "tasks/elementwise.h"

namespace fastnorm {

// A kernel for every element type, as KernelTable holds them.
template <class Task>
using Kernels = void (*[element_count])(const Task&, std::int64_t, std::int64_t, void*);

// Fills the task with the arrays: `inputs` inputs, then results, all of one shape and type. `warm` as in
// NewArray. Returns the bytes of scratch that a thread needs.
std::size_t describe(
    Geometry& geometry, Elementwise& task, const Array* arrays, int inputs, int results, bool warm
);

// Runs a kernel over the arrays; it takes one thread `nanoseconds` for an element in float32, and about five
// times as long in float64. False with an error set where there is no memory.
template <class Task>
bool run_elementwise(
    const Kernels<Task>& table, Task task, const Array* arrays, int inputs, int results, bool warm,
    double nanoseconds
) {
    Geometry geometry;
    const std::size_t scratch = describe(geometry, task, arrays, inputs, results, warm);
    const Array& out = arrays[inputs];
    const double cost = nanoseconds * (out.element == Element::float64 ? 5 : 1);
    const std::int64_t segments = task.shape.rows * segments_per_row(task);
    const std::int64_t size = task.shape.rows * task.shape.cols;
    // What repeats is packed once a call of the kernel: swish with one beta, 512 x 768, took two threads 330
    // us, a segment at a time, and one 260.
    const std::int64_t together = scratch > 0 ? std::clamp<std::int64_t>(segments / 16, 1, 8) : 1;
    return run_kernel(table[int(out.element)], task, segments, together, cost * double(size), scratch);
}

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
