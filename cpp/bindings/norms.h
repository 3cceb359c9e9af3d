// What the bindings of the norms share: how rows are shared out, and parameter gradients from partial sums.
#pragma once

#include "bindings/arrays.h"
#include "tasks/norms.h"

namespace fastnorm {

// Chunks of whole tiles, or single rows where there are few: enough to share out evenly, of 16 KiB at least.
std::int64_t rows_per_chunk(const Rows& rows, std::int64_t size);

// Rows that one partial sum of a parameter gradient covers: at most 128 partials, of at least 64 rows. It
// depends on the number of rows alone, so that the order of addition does.
std::int64_t rows_per_block(std::int64_t rows);

// Scratch that packing the operands that are not contiguous takes, `size` being that of their elements.
std::int64_t packing_bytes(const Geometry& geometry, int operands, std::int64_t size);

// Statistics of rows without columns: nothing was averaged.
void fill_with_nan(PyArrayObject* array);

// One thread's time for an element, by which the number of threads is chosen: 512 x 768, float32, one Ice
// Lake core (rms_norm, and layer_norm_backward). A guess of 0.2 left a second thread asleep there: 160 us
// instead of 78.
constexpr double norm_forward_nanoseconds = 0.33;
constexpr double norm_backward_nanoseconds = 0.55;

// dweight and dbias, empty where there is no such parameter.
struct ParameterGradients {
    Reference dweight, dbias;

    // False with an error set where there is no memory; so for the others.
    bool create(const Array& x, const Axes& axes, bool has_weight, bool has_bias);
    bool in_given_order(PyObject* axes);
    bool wanted() const { return dweight || dbias; }
    PyObject* weight_or_none() const { return dweight ? dweight.get() : Py_None; }
    PyObject* bias_or_none() const { return dbias ? dbias.get() : Py_None; }

    // Adds the partial sums of the row blocks, `blocks` x cols of either, in the order of the blocks.
    bool sum_blocks(const Array& x, const double* partials, std::int64_t blocks, std::int64_t cols);
};

// Runs the kernel of a backward over row blocks and adds up the parameter gradients. `norm` is the task or a
// part of it; what its last members, from block_rows on, are is settled here. It takes one thread
// `nanoseconds` for an element, and `scratch` bytes besides the running sums.
template <class Task>
bool run_backward(
    void (*kernel)(const Task&, std::int64_t, std::int64_t, void*), const Task& task, NormBackward& norm,
    const Array& x, ParameterGradients& gradients, double nanoseconds, std::int64_t scratch
) {
    const Rows& rows = norm.shape;
    norm.block_rows = rows_per_block(rows.rows);
    const std::int64_t blocks = (rows.rows + norm.block_rows - 1) / norm.block_rows;
    const bool accumulate = gradients.wanted();
    const Buffer partials(accumulate ? std::size_t(2 * blocks * rows.cols) * sizeof(double) : 0);
    if (!partials) {
        PyErr_NoMemory();
        return false;
    }
    double* sums = static_cast<double*>(partials.data());
    norm.dweight_partials = accumulate ? sums : nullptr;
    norm.dbias_partials = accumulate ? sums + blocks * rows.cols : nullptr;
    scratch += parameter_sums_bytes(rows.cols, item_size(compute_element(x.element)));
    const double cost = nanoseconds * double(rows.rows * rows.cols);
    if (!run_kernel(kernel, task, blocks, 1, cost, std::size_t(scratch))) return false;
    return !accumulate || gradients.sum_blocks(x, sums, blocks, rows.cols);
}

}  // namespace fastnorm
