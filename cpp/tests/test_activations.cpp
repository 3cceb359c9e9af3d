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

// Forward and backward of swish, a beta for each row, or for each column of rows that share them or of one.
enum class Betas { of_rows, of_columns, of_elements };

Results run_swish(const KernelTable& table, const Shape& s, Betas betas) {
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 5);
    fill(dy, s, 6);
    const bool is_row = betas == Betas::of_rows;
    const std::int64_t count = is_row ? s.rows : betas == Betas::of_columns ? s.cols : s.rows * s.cols;
    const std::int64_t segments = s.cols > 0 ? s.rows : 0, blocks = is_row ? 0 : (s.rows + 2) / 3;
    const bool shares = is_row || (betas == Betas::of_columns && blocks > 1);
    Guarded values(std::size_t(count * compute), true), sums(std::size_t(count * compute), true);
    Guarded partial(std::size_t((is_row ? segments : shares ? blocks * s.cols : 0) * 8), true);
    fill_parameters(values, s.element, count, 7);
    const Rows rows = rows_of(s);
    Guarded scratch(std::size_t(3 * segment_elements * 8 + 64 * (16 + 3 * compute + 3 * size)), true);
    Guarded joined_scratch(std::size_t(swish_room * (8 + 2 * compute) + 256 * compute), true);
    Guarded few_scratch(std::size_t(swish_run * (24 + 3 * compute + 3 * size)), true);
    const std::int64_t none = 0, row_step = s.cols * compute;
    const std::int64_t* const outer = is_row ? &compute : betas == Betas::of_columns ? &none : &row_step;
    const std::int64_t* const inner = is_row ? &none : &compute;
    const Operand beta = {static_cast<char*>(values.data()), outer, inner, !is_row},
                  dbeta = {static_cast<char*>(sums.data()), outer, inner, !is_row};
    SwishForward task{{rows, {x.operand(s), beta, y.operand(s)}, s.stream}, 1};
    table.swish_forward[e](task, 0, s.rows * segments_per_row(task), scratch.data());
    const std::string separate = elements(y, s);
    if (s.layout == Layout::contiguous && s.rows > 1 && s.cols > 0 && s.cols <= swish_run / 2) {
        task.rows_together = std::min(s.rows, swish_run / s.cols);
        task.operands[2] = dx.operand(s);
        table.swish_forward[e](
            task, 0, (s.rows + task.rows_together - 1) / task.rows_together, scratch.data()
        );
        CHECK(elements(dx, s) == separate);
    }
    const std::int64_t shared_rows = betas == Betas::of_columns ? s.rows : 1, strip = 48;
    SwishBackward backward{
        rows, dy.operand(s), x.operand(s), dx.operand(s), beta, dbeta, shared_rows, 3, strip, 1, 0, nullptr
    };
    if (shares) backward.shares = reinterpret_cast<double*>(partial.data());
    std::string few;
    if (is_row) {
        table.swish_backward_rows[e](backward, 0, segments, scratch.data());
        if (task.rows_together > 1 && s.cols >= 16) {
            const std::string one_by_one = partial.content(), gradient = elements(dx, s);
            const std::int64_t step = sizeof(double);
            backward.rows_together = task.rows_together;
            backward.dbeta.outer_stride = &step;
            table.swish_backward_rows[e](
                backward, 0, (s.rows + task.rows_together - 1) / task.rows_together, joined_scratch.data()
            );
            CHECK(partial.content() == one_by_one && elements(dx, s) == gradient);
        }
    } else {
        const std::int64_t groups = betas == Betas::of_columns ? blocks : s.rows;
        table.swish_backward_columns[e](backward, 0, groups * ((s.cols + strip - 1) / strip), scratch.data());
        if (betas == Betas::of_columns && s.cols > 0 && s.cols <= swish_run / 16 && s.rows > 0) {
            // The lanes of 16 rows, which follow each other or are packed.
            few = shares ? partial.content() : sums.content();
            backward.lane_rows = 16, backward.block_rows = s.rows, backward.shares = nullptr;
            backward.rows_together = s.layout == Layout::contiguous ? 2 : 1;
            const std::string gradient = elements(dx, s);
            table.swish_backward_columns[e](backward, 0, 1, few_scratch.data());
            CHECK(elements(dx, s) == gradient);
            few += sums.content();
        }
    }
    if (s.rows == 0) return {{elements(y, s), elements(dx, s)}};
    return {
        {elements(y, s), elements(dx, s), few.empty() ? shares ? partial.content() : sums.content() : few}
    };
}

// Backward of a result.
Results run_from_result(const Kernel<Elementwise>* kernel, const Shape& s) {
    const std::int64_t size = item_size(s.element);
    TestArray y(s, size), dy(s, size), dx(s, size);
    fill(y, s, 5);
    fill(dy, s, 6);
    Guarded scratch(std::size_t(3 * segment_elements * size), true);
    Elementwise task{rows_of(s), {dy.operand(s), y.operand(s), dx.operand(s)}, s.stream};
    kernel[int(s.element)](task, 0, s.rows * segments_per_row(task), scratch.data());
    return {{elements(dx, s)}};
}

}  // namespace

#define FASTNORM_COMPARE(argument, name)                                                 \
    compare_all([](const KernelTable& table, const Shape& s) {                           \
        return run_unary(table.name##_forward, table.name##_backward, s, Elementwise()); \
    });

#define FASTNORM_COMPARE_FROM_RESULT(argument, name)                  \
    compare_all([](const KernelTable& table, const Shape& s) {        \
        return run_from_result(table.name##_backward_from_result, s); \
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
    FASTNORM_SIGMOID_ACTIVATIONS(FASTNORM_COMPARE_FROM_RESULT, )
    for (const Betas betas : {Betas::of_rows, Betas::of_columns, Betas::of_elements}) {
        compare_all([=](const KernelTable& table, const Shape& s) { return run_swish(table, s, betas); });
    }
    return check::report();
}
