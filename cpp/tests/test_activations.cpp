// The element-wise kernels, as kernels.h tests them.
#include "kernels.h"

namespace {

// Forward and backward of a form of gelu.
Results run_activation(const KernelTable& table, const Shape& s, int form) {
    const std::int64_t size = item_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill(x, s, 5);
    fill(dy, s, 6);
    for (std::int64_t j = 0; j < s.cols && j < 4; ++j) {
        const double special[] = {-13.7, -0.0, -40, 30};
        put(s.element, x.at(0, j), special[j]);
    }
    Rows rows{s.rows, s.cols, 1, 1, &s.rows, &s.cols};
    Guarded scratch(std::size_t(3 * segment_elements * size), true);
    Elementwise task{rows, {x.operand(s), y.operand(s)}, s.stream};
    auto* forward =
        (form == 0   ? table.gelu_forward
         : form == 1 ? table.gelu_tanh_forward
                     : table.gelu_sigmoid_forward)[e];
    auto* backward =
        (form == 0   ? table.gelu_backward
         : form == 1 ? table.gelu_tanh_backward
                     : table.gelu_sigmoid_backward)[e];
    forward(task, 0, s.rows * segments_per_row(task), scratch.data());
    task = {rows, {dy.operand(s), x.operand(s), dx.operand(s)}, s.stream};
    backward(task, 0, s.rows * segments_per_row(task), scratch.data());
    return {{elements(y, s), elements(dx, s)}};
}

}  // namespace

int main() {
    for (int form = 0; form < 3; ++form) {
        compare_all([&](const KernelTable& table, const Shape& s) { return run_activation(table, s, form); });
    }
    return check::report();
}
