// The losses over classes, as kernels.h tests them.
#include "kernels.h"

namespace {

enum class Target { labels, smoothed, probabilities };

// Classes, and every kind of number that is none.
std::int64_t label_of(std::int64_t row, std::int64_t classes) {
    const std::int64_t none[] = {-1, classes, INT64_MIN, INT64_MAX, std::int64_t(1) << 32};
    return row % 5 == 3 ? none[row / 5 % 5] : (7 * row) % classes;
}

template <class Kernel>
Results run(const Kernel& kernel, const Shape& s, Target target, double gamma, int terms) {
    if (s.cols == 0) return {};  // no classes: refused before any plan
    const std::int64_t size = item_size(s.element), compute = compute_size(s.element);
    TestArray logits(s, size), probabilities(s, size), gradient(s, size);
    fill(logits, s, 25);
    fill(probabilities, s, 26);
    for (std::int64_t r = 1; r < s.rows; r += 4) put(s.element, logits.at(r, (7 * r) % s.cols), 40);
    std::vector<std::int64_t> labels(std::size_t(s.rows));
    for (std::int64_t r = 0; r < s.rows; ++r) labels[std::size_t(r)] = label_of(r, s.cols);
    Guarded weight(std::size_t(s.cols * compute), true), dloss(std::size_t(s.rows * compute), true);
    Guarded losses(std::size_t(s.rows) * sizeof(double), true);
    fill_parameters(weight, s.element, s.cols, 27);
    fill_parameters(dloss, s.element, s.rows, 28);
    Guarded scratch(std::size_t(work_row_bytes(s.cols, compute) + 3 * packed_bytes(rows_of(s), size)), true);
    const double epsilon[] = {2, -0.5};
    ClassLoss task = {};
    task.shape = rows_of(s);
    task.logits = logits.operand(s);
    task.probabilities = probabilities.operand(s);
    task.gradient = gradient.operand(s);
    task.labels = target == Target::probabilities ? nullptr : labels.data();
    task.weight = target == Target::smoothed ? weight.data() : nullptr;
    task.weight_sum = 3;
    task.label_smoothing = target == Target::smoothed ? 0.1 : 0;
    task.gamma = gamma;
    task.epsilon = epsilon;
    task.terms = terms;
    task.dloss = dloss.data();
    task.scale = 0.25;
    task.losses = reinterpret_cast<double*>(losses.data());
    task.stream = s.stream;
    kernel[int(s.element)](task, 0, s.rows, scratch.data());
    return {{elements(gradient, s), losses.content()}};
}

}  // namespace

int main() {
    for (const Target target : {Target::labels, Target::smoothed, Target::probabilities}) {
        for (const double gamma : {0.0, 1.5}) {
            for (const int terms : {0, 2}) {
                // Each part alone, and both.
                if (gamma > 0 && (terms > 0) != (target == Target::smoothed)) continue;
                compare_all([&](const KernelTable& table, const Shape& s) {
                    return run(table.class_loss, s, target, gamma, terms);
                });
            }
        }
    }
    return check::report();
}
