// What the bindings of the norms share: how rows are shared out, and parameter gradients from partial sums.
#pragma once

#include "bindings/arrays.h"
#include "tasks/norms.h"

namespace fastnorm {

// Chunks of whole tiles, or single rows where there are few: enough to share out evenly, of 16 KiB at least.
std::int64_t rows_per_chunk(const Rows& rows, std::int64_t size);

// Rows that one partial sum of a parameter gradient covers: at most 128 partials, of at least 64 rows. It depends on
// the number of rows alone, so that the order of addition does.
std::int64_t rows_per_block(std::int64_t rows);

// Scratch that packing the operands that are not contiguous takes, `size` being that of their elements.
std::int64_t packing_bytes(const Geometry& geometry, int operands, std::int64_t size);

// Statistics of rows without columns: nothing was averaged.
void fill_with_nan(PyArrayObject* array);

// A parameter gradient with its axes in the order in which the caller gave them, where that was not the array's.
Reference in_given_order(Reference gradient, PyObject* axis, int ndim);

// The partial sums of the row blocks (blocks x cols), in the order of the blocks, as one array. False with an error set
// where there is no memory.
bool sum_blocks(const Array& x, const double* partials, std::int64_t blocks, std::int64_t cols, PyArrayObject* sums);

}  // namespace fastnorm
