// The losses over classes, as kernels.h tests them.
#include <limits>

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

// The loss of rows that are met in two calls, and the gradient of rows met in one. Where the layout is not
// contiguous, the rows lie apart.
Results run_online(const KernelTable& table, const Shape& s, double label_smoothing) {
    if (s.cols == 0) return {};
    const Element element = s.element == Element::float64 ? Element::float64 : Element::float32;
    const Shape apart{s.rows,   s.layout == Layout::contiguous ? s.cols : s.cols + 24,
                      element,  Layout::contiguous,
                      s.at_end, false};
    const Shape rows{s.rows, s.cols, element, Layout::contiguous, s.at_end, false};
    const std::int64_t size = item_size(element), split = s.cols > class_block ? class_block : s.cols;
    TestArray values(rows, size), logits(apart, size);
    fill(values, rows, 25);
    std::vector<std::int64_t> labels(std::size_t(s.rows));
    for (std::int64_t r = 0; r < s.rows; ++r) labels[std::size_t(r)] = label_of(r, s.cols);
    // A class that holds nearly all, in the first block and the last; a row that has nothing finite at first.
    if (s.rows > 4) {
        put(element, values.at(1, 7 % s.cols), 40);
        put(element, values.at(2, s.cols - 1), 90);
        for (std::int64_t j = 0; j + 1 < s.cols; ++j)
            put(element, values.at(4, j), -std::numeric_limits<double>::infinity());
    }
    for (std::int64_t r = 0; r < s.rows; ++r)
        std::memcpy(logits.at(r, 0), values.at(r, 0), std::size_t(s.cols * size));
    Guarded dloss(std::size_t(s.rows * size), true), losses(std::size_t(s.rows) * sizeof(double), true);
    Guarded known(std::size_t(s.rows) * sizeof(ClassRow), true);
    fill_parameters(dloss, element, s.rows, 28);
    LinearCrossEntropy task = {};
    task.logits = logits.memory.data();
    task.step = apart.cols;
    task.last = split, task.classes = s.cols;
    task.labels = labels.data();
    task.rows = reinterpret_cast<ClassRow*>(known.data());
    task.label_smoothing = label_smoothing;
    task.losses = reinterpret_cast<double*>(losses.data());
    task.dloss = dloss.data();
    task.scale = 0.25;
    const auto run = [&] { table.linear_cross_entropy[int(s.element)](task, 0, s.rows, nullptr); };
    run();
    if (split < s.cols) {
        task.logits = logits.memory.data() + split * size;
        task.first = split, task.last = s.cols;
        run();
    }
    const std::string apart_losses = losses.content();
    task.logits = logits.memory.data();
    task.first = 0, task.last = s.cols;
    task.wants_gradient = true;
    run();
    CHECK(losses.content() == apart_losses);
    std::string gradient;
    for (std::int64_t r = 0; r < s.rows; ++r) gradient.append(logits.at(r, 0), std::size_t(s.cols * size));
    return {{gradient, apart_losses}};
}

}  // namespace

int main() {
    for (const double label_smoothing : {0.0, 0.1}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            return run_online(table, s, label_smoothing);
        });
    }
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
    for (const Target target : {Target::labels, Target::smoothed}) {
        compare_all([&](const KernelTable& table, const Shape& s) {
            return run(table.nll_loss, s, target, 0, 0);
        });
    }
    return check::report();
}
