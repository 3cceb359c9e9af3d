// The element-wise kernels, as kernels.h tests them.
#include <utility>

#include "kernels.h"

namespace {

// Forward and backward of an op of x and what `task` holds besides.
template <class Task>
Results run_unary(const Kernel<Task>* forward, const Kernel<Task>* backward, const Shape& s, Task task) {
    const std::int64_t size = item_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 5);
    fill(dy, s, 6);
    for (std::int64_t j = 0; s.rows > 0 && j < s.cols && j < 6; ++j) {
        const double special[] = {-13.7, -0.0, -40, 30, -1.2785, -95};
        put(s.element, x.at(0, j), special[j]);
    }
    Guarded scratch(std::size_t(3 * segment_elements * size), true);
    task.shape = rows_of(s);
    task.stream = s.stream;
    task.operands[0] = x.operand(s);
    task.operands[1] = y.operand(s);
    forward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    task.operands[0] = dy.operand(s);
    task.operands[1] = x.operand(s);
    task.operands[2] = dx.operand(s);
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
    const std::int64_t segments = s.cols > 0 ? s.rows : 0;
    Guarded betas(std::size_t(s.rows * compute), true), shares(std::size_t(segments * 8), true);
    fill_parameters(betas, s.element, s.rows, 7);
    const Rows rows = rows_of(s);
    Guarded scratch(std::size_t(3 * segment_elements * compute), true);
    const std::int64_t step = 0;
    Elementwise task{rows, {x.operand(s), {betas.data(), &compute, &step, false}, y.operand(s)}, s.stream};
    table.swish_forward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    const SwishBackward backward{
        rows,          dy.operand(s), x.operand(s),
        dx.operand(s), betas.data(),  reinterpret_cast<double*>(shares.data()),
    };
    table.swish_backward[e](backward, 0, segments, scratch.data());
    return {{elements(y, s), elements(dx, s), shares.content()}};
}

}  // namespace

#define FASTNORM_COMPARE(argument, name)                                                 \
    compare_all([](const KernelTable& table, const Shape& s) {                           \
        return run_unary(table.name##_forward, table.name##_backward, s, Elementwise()); \
    });

#define FASTNORM_COMPARE_PARAMETRIC(argument, name)                                                  \
    for (const auto& numbers : {std::pair(1.0, 20.0), std::pair(0.3, 2.0), std::pair(-2.0, 20.0)}) { \
        compare_all([&](const KernelTable& table, const Shape& s) {                                  \
            ParametricActivation task;                                                               \
            task.parameters[0] = numbers.first;                                                      \
            task.parameters[1] = numbers.second;                                                     \
            return run_unary(table.name##_forward, table.name##_backward, s, task);                  \
        });                                                                                          \
    }

int main() {
    FASTNORM_UNARY_ACTIVATIONS(FASTNORM_COMPARE, )
    FASTNORM_FORMS_OF_GELU(FASTNORM_COMPARE, )
    FASTNORM_PARAMETRIC_ACTIVATIONS(FASTNORM_COMPARE_PARAMETRIC, )
    compare_all(run_swish);
    return check::report();
}
