// The kernels over rows of probabilities, as kernels.h tests them.
#include <cmath>

#include "kernels.h"

namespace {

// Rows of every kind: one that holds everything, equal elements, far from zero, with -infinity.
void fill_scores(const TestArray& x, const Shape& s) {
    fill(x, s, 15);
    for (std::int64_t r = 0; s.cols > 0 && r < s.rows; ++r) {
        if (r % 4 == 1) put(s.element, x.at(r, s.cols / 2), 50);
        if (r % 4 == 2) put(s.element, x.at(r, s.cols - 1), -HUGE_VAL);
    }
}

template <class Forward, class Backward>
Results run(const Forward& forward, const Backward& backward, const Backward& from_result, const Shape& s) {
    const std::int64_t size = item_size(s.element);
    const int e = int(s.element);
    TestArray x(s, size), y(s, size), dy(s, size), dx(s, size);
    fill_scores(x, s);
    fill(dy, s, 16);
    const Rows rows = rows_of(s);
    Guarded scratch(
        std::size_t(
            softmax_work_bytes(rows_of(s), compute_size(s.element)) + 3 * packed_bytes(rows_of(s), size)
        ),
        true
    );
    forward[e]({rows, x.operand(s), y.operand(s), s.stream}, 0, s.rows, scratch.data());
    backward[e]({rows, dy.operand(s), x.operand(s), dx.operand(s), s.stream}, 0, s.rows, scratch.data());
    TestArray again(s, size);
    from_result[e](
        {rows, dy.operand(s), y.operand(s), again.operand(s), s.stream}, 0, s.rows, scratch.data()
    );
    return {{elements(y, s), elements(dx, s), elements(again, s)}};
}

}  // namespace

int main() {
    compare_all([](const KernelTable& table, const Shape& s) {
        return run(table.softmax_forward, table.softmax_backward, table.softmax_backward_from_result, s);
    });
    compare_all([](const KernelTable& table, const Shape& s) {
        return run(
            table.log_softmax_forward, table.log_softmax_backward, table.log_softmax_backward_from_result, s
        );
    });
    return check::report();
}
