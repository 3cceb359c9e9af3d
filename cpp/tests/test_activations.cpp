// The element-wise kernels, as kernels.h tests them.
#include "kernels.h"

namespace {

using ElementwiseKernels = decltype(KernelTable::gelu_forward);

// Forward and backward of an op of x alone.
Results run_unary(const ElementwiseKernels& forward, const ElementwiseKernels& backward, const Shape& s) {
    const std::int64_t size = item_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 5);
    fill(dy, s, 6);
    for (std::int64_t j = 0; j < s.cols && j < 6; ++j) {
        const double special[] = {-13.7, -0.0, -40, 30, -1.2785, -95};
        put(s.element, x.at(0, j), special[j]);
    }
    Rows rows{s.rows, s.cols, 1, 1, &s.rows, &s.cols};
    Guarded scratch(std::size_t(3 * segment_elements * size), true);
    Elementwise task{rows, {x.operand(s), y.operand(s)}, s.stream};
    forward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    task = {rows, {dy.operand(s), x.operand(s), dx.operand(s)}, s.stream};
    backward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    return {{elements(y, s), elements(dx, s)}};
}

// Forward and backward of swish, a beta for each row.
Results run_swish(const KernelTable& table, const Shape& s) {
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 5);
    fill(dy, s, 6);
    Guarded betas(std::size_t(s.rows * compute), true), shares(std::size_t(s.rows * 8), true);
    fill_parameters(betas, s.element, s.rows, 7);
    Rows rows{s.rows, s.cols, 1, 1, &s.rows, &s.cols};
    Guarded scratch(std::size_t(3 * segment_elements * compute), true);
    const std::int64_t step = 0;
    Elementwise task{rows, {x.operand(s), {betas.data(), &compute, &step, false}, y.operand(s)}, s.stream};
    table.swish_forward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    const SwishBackward backward{
        rows,          dy.operand(s), x.operand(s),
        dx.operand(s), betas.data(),  reinterpret_cast<double*>(shares.data()),
    };
    table.swish_backward[e](backward, 0, s.rows, scratch.data());
    return {{elements(y, s), elements(dx, s), std::string(shares.data(), std::size_t(s.rows * 8))}};
}

}  // namespace

#define FASTNORM_COMPARE(argument, name)                                  \
    compare_all([](const KernelTable& table, const Shape& s) {            \
        return run_unary(table.name##_forward, table.name##_backward, s); \
    });

int main() {
    FASTNORM_UNARY_ACTIVATIONS(FASTNORM_COMPARE, )
    FASTNORM_FORMS_OF_GELU(FASTNORM_COMPARE, )
    compare_all(run_swish);
    return check::report();
}
