// The kernels of regularisation, as kernels.h tests them.
#include "kernels.h"

namespace {

Results run_dropout(const KernelTable& table, const Shape& s, double p) {
    const std::int64_t size = item_size(s.element), count = s.rows * s.cols;
    TestArray x(s, size), y(s, size);
    fill(x, s, 1);
    const std::int64_t extents[] = {s.rows, s.cols};
    const std::int64_t x_strides[] = {x.outer_stride, x.inner_stride};
    const std::int64_t y_strides[] = {y.outer_stride, y.inner_stride};
    const std::int64_t one = 1, none = 0;
    const bool contiguous = s.layout == Layout::contiguous;
    Dropout task;
    task.shape = {1, count, 1, 2, &one, extents, 1};
    task.x = {x.memory.data(), &none, x_strides, contiguous};
    task.y = {y.memory.data(), &none, y_strides, contiguous};
    task.seed = 0x123456789abcdefu;
    task.dropped = std::int64_t(p * double(dropout_levels));
    task.scale = double(dropout_levels) / double(dropout_levels - task.dropped);
    task.stream = contiguous && s.stream && reinterpret_cast<std::uintptr_t>(y.memory.data()) % 64 == 0;
    Guarded scratch(std::size_t(2 * dropout_group * size), true);
    const std::int64_t groups = (count + dropout_group - 1) / dropout_group;
    table.dropout[int(s.element)](task, 0, groups, scratch.data());
    return {{elements(y, s)}};
}

}  // namespace

int main() {
    for (const double p : {0.0, 0.5, 0.1}) {
        compare_all([&](const KernelTable& table, const Shape& s) { return run_dropout(table, s, p); });
    }
    return check::report();
}
