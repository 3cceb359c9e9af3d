// The element-wise losses, as kernels.h tests them.
#include "kernels.h"

namespace {

struct Case {
    bool with_losses, with_gradient, with_dloss;
    double gamma;
};

template <class Kernel>
Results run(const Kernel& kernel, const Shape& s, const Case& c, bool of_logarithms = false) {
    const std::int64_t size = item_size(s.element);
    TestArray x(s, size), target(s, size), losses(s, size), gradient(s, size), dloss(s, size);
    fill(x, s, 31);
    fill(target, s, 32);
    fill(dloss, s, 33);
    for (std::int64_t r = 0; r < s.rows; ++r) {
        for (std::int64_t j = 0; j < s.cols; ++j) {
            const std::int64_t i = r * s.cols + j;
            put(s.element, target.at(r, j), i % 11 == 0 ? 0.25 : double(i % 3 == 0));
            if (i % 7 == 0) put(s.element, x.at(r, j), double(i % 300 - 150));
        }
    }
    // Few enough that a block ends within the arrays and rows are packed by parts.
    ElementwiseLoss task = {};
    task.shape = rows_of(s);
    task.block_rows = lanes_by_rows.sets,
    task.block_cols = std::max<std::int64_t>(1, std::min<std::int64_t>(s.cols, 192));
    task.packed_rows = 32;
    task.by_rows = s.rows >= tile_rows && s.cols % 16 == 0;
    task.along_columns = task.by_rows && s.layout == Layout::neighbouring_rows;
    const std::int64_t blocks = task.blocks();
    Guarded sums(std::size_t(blocks) * sizeof(double), true);
    Guarded scratch(std::size_t((5 * size + 2 * compute_size(s.element)) * task.packed_elements()), true);
    const auto operand = [&](const TestArray& array) { return array.operand(s); };
    const Operand nothing{nullptr, nullptr, nullptr, true};
    task.operands[ElementwiseLoss::x] = operand(x);
    task.operands[ElementwiseLoss::target] = operand(target);
    task.operands[ElementwiseLoss::dloss] = c.with_dloss ? operand(dloss) : nothing;
    task.operands[ElementwiseLoss::losses] = c.with_losses ? operand(losses) : nothing;
    task.operands[ElementwiseLoss::gradient] = c.with_gradient ? operand(gradient) : nothing;
    // A weight of each element, and one for each column, which all rows share.
    Shape wide = s;
    wide.element = s.element == Element::float64 ? Element::float64 : Element::float32;
    TestArray weight(wide, item_size(wide.element));
    fill(weight, wide, 34);
    const std::int64_t no_step = 0;
    if (c.with_dloss) {
        task.operands[ElementwiseLoss::weight] = weight.operand(wide);
        task.operands[ElementwiseLoss::pos_weight] = {
            weight.memory.data(), &no_step, &weight.inner_stride, s.layout == Layout::contiguous
        };
        task.along_columns = false;
    } else {
        task.operands[ElementwiseLoss::weight] = task.operands[ElementwiseLoss::pos_weight] = nothing;
    }
    task.top = 0.75, task.bend = 0.5, task.rise[0] = 1, task.rise[1] = c.gamma == 0 ? 2 : 1;
    task.scale = 0.25;
    task.sums = reinterpret_cast<double*>(sums.data());
    task.stream = s.stream && c.with_gradient;
    task.gamma = c.gamma;
    task.epsilon = -0.5;
    task.of_logarithms = of_logarithms;
    task.alpha_of_one = 0.25;
    task.alpha_of_zero = 0.75;
    kernel[int(s.element)](task, 0, blocks, scratch.data());
    Results results{{sums.content()}};
    if (c.with_losses) results.outputs.push_back(elements(losses, s));
    if (c.with_gradient) results.outputs.push_back(elements(gradient, s));
    return results;
}

}  // namespace

int main() {
    for (const Case& c :
         {Case{false, true, false, 2}, Case{true, true, true, 1.5}, Case{true, false, false, 0}}) {
        compare_all([&](const KernelTable& table, const Shape& s) { return run(table.mse_loss, s, c); });
        compare_all([&](const KernelTable& table, const Shape& s) { return run(table.huber_loss, s, c); });
        compare_all([&](const KernelTable& table, const Shape& s) {
            return run(table.bce_with_logits, s, c);
        });
        for (const bool of_logarithms : {false, true}) {
            compare_all([&](const KernelTable& table, const Shape& s) {
                return run(table.kl_div, s, c, of_logarithms);
            });
        }
        compare_all([&](const KernelTable& table, const Shape& s) {
            return run(table.sigmoid_focal_loss, s, c);
        });
    }
    return check::report();
}
