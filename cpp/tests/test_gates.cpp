// The gated units, as kernels.h tests them.
#include "kernels.h"

namespace {

struct Unit {
    void (*const (&forward)[element_count])(const Gate&, std::int64_t, std::int64_t, void*);
    void (*const (&backward)[element_count])(const Gate&, std::int64_t, std::int64_t, void*);
    double beta = 1;
};

constexpr int units = 8;
Unit unit_of(const KernelTable& table, int index) {
    switch (index) {
        case 0:
            return {table.geglu_forward, table.geglu_backward};
        case 1:
            return {table.geglu_tanh_forward, table.geglu_tanh_backward};
        case 2:
            return {table.geglu_sigmoid_forward, table.geglu_sigmoid_backward};
        case 3:
            return {table.reglu_forward, table.reglu_backward};
        case 4:
            return {table.glu_forward, table.glu_backward};
        case 5:
            return {table.swiglu_forward, table.swiglu_backward};
        case 6:
            return {table.swiglu_beta_forward, table.swiglu_beta_backward, -1.75};
        default:
            return {table.bilinear_forward, table.bilinear_backward};
    }
}

// Forward and backward of a gated unit.
Results run_gate(const KernelTable& table, const Shape& s, int index) {
    const Unit unit = unit_of(table, index);
    const std::int64_t size = item_size(s.element);
    TestArray gate(s, size), up(s, size), y(s, size), dy(s, size), dgate(s, size), dup(s, size);
    fill(gate, s, 5);
    fill(up, s, 6);
    fill(dy, s, 7);
    for (std::int64_t j = 0; s.rows > 0 && j < s.cols && j < 4; ++j) {
        const double special[] = {-13.7, -0.0, -40, 30};
        put(s.element, gate.at(0, j), special[j]);
    }
    Gate task;
    task.shape = rows_of(s);
    task.stream = s.stream;
    task.beta = unit.beta;
    const std::int64_t segments = s.rows * segments_per_row(task);
    Guarded scratch(std::size_t(5 * segment_elements * size), true);
    int count = 0;
    for (const TestArray* array : {&gate, &up, &y}) task.operands[count++] = array->operand(s);
    unit.forward[int(s.element)](task, 0, segments, scratch.data());
    count = 0;
    for (const TestArray* array : {&dy, &gate, &up, &dgate, &dup}) task.operands[count++] = array->operand(s);
    unit.backward[int(s.element)](task, 0, segments, scratch.data());
    return {{elements(y, s), elements(dgate, s), elements(dup, s)}};
}

}  // namespace

int main() {
    for (int index = 0; index < units; ++index) {
        compare_all([&](const KernelTable& table, const Shape& s) { return run_gate(table, s, index); });
    }
    return check::report();
}
