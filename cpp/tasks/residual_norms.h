// What the kernels of the norms of a sum are given: summed = x + alpha * residual.
#pragma once

#include "tasks/norms.h"

namespace fastnorm {

struct AddNormForward {
    NormForward norm;  // of the sum: its x is the x of the sum
    Operand residual;
    Operand summed;  // data is null where the sum is not wanted
    bool replaces;   // the sum takes the place of x or residual
    double alpha;
};

// The gradient of the same. The loss depends on y (norm.dy), on the sum (dsummed), or on both; data is null
// where it does not. dresidual = alpha * dx.
struct AddNormBackward {
    NormBackward norm;
    Operand residual, dsummed, dresidual;
    double alpha;
};

// The rows whose sums are held at once, at most, and the scratch that one in double and those take.
constexpr int summed_rows = 4;
FASTNORM_INLINE constexpr std::int64_t summed_bytes(std::int64_t rows, std::int64_t cols, std::int64_t size) {
    return packed_row_bytes(cols, sizeof(double)) +
           (rows < summed_rows ? rows : summed_rows) * packed_row_bytes(cols, size);
}

}  // namespace fastnorm
