#include "plan/optim.h"

#include <algorithm>
#include <cmath>

#include "plan/run.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, float32 in cache.
constexpr double sgd_nanoseconds = 0.15;
constexpr double adam_nanoseconds = 0.5;
constexpr double squares_nanoseconds = 0.1, scale_nanoseconds = 0.1;
constexpr std::int64_t elements_per_chunk = 16384;

// The kernels take no scratch, so there is nothing that could fail.
template <class Task>
void run_without_scratch(Kernel<Task> kernel, const Task& task, const Work& work) {
    if (work.chunks() <= 1) return kernel(task, 0, work.units, nullptr);
    share_out(work, threads_for(work), nullptr, [&](std::int64_t begin, std::int64_t end, void*) {
        kernel(task, begin, end, nullptr);
    });
}

template <class Task>
void run_update(
    const Kernels<Task>& table, const Task& task, const OptimizedParameter& p, double nanoseconds
) {
    run_without_scratch(table[int(p.element)], task, {p.size, elements_per_chunk, nanoseconds, 0});
}

// The sum of (scale g)^2 over a gradient: over blocks, whose sums are added in their order.
double sum_of_squares(const GradientArray& gradient, double scale) {
    constexpr std::int64_t together = 256;  // blocks that are shared out at once
    double squares[together], total = 0;
    for (std::int64_t first = 0; first < gradient.size; first += together * norm_block) {
        GradientSquares task;
        task.gradient = static_cast<const char*>(gradient.data) + first * item_size(gradient.element);
        task.size = std::min(gradient.size - first, together * norm_block);
        task.scale = scale;
        task.squares = squares;
        const Work work{
            (task.size + norm_block - 1) / norm_block, 1, squares_nanoseconds * double(task.size), 0
        };
        run_without_scratch(kernels().gradient_squares[int(gradient.element)], task, work);
        for (std::int64_t block = 0; block < work.units; ++block) total += squares[block];
    }
    return total;
}

// The norm of all gradients, finite wherever that can be represented: the squares of a float64 may not be.
double norm_of(const std::vector<GradientArray>& gradients) {
    const auto total = [&](double scale) {
        double sum = 0;
        for (const GradientArray& gradient : gradients) sum += sum_of_squares(gradient, scale);
        return sum;
    };
    const double sum = total(1);
    if (sum >= 0x1p-900 && std::isfinite(sum)) return std::sqrt(sum);
    if (std::isnan(sum)) return sum;
    const double scale = std::isinf(sum) ? 0x1p-600 : 0x1p600;
    return std::sqrt(total(scale)) / scale;
}

}  // namespace

double update_nanoseconds(const OptimizerRule& rule, double elements) {
    const bool divides = rule.kind == Optimizer::adam || rule.kind == Optimizer::rmsprop;
    return (divides ? adam_nanoseconds : sgd_nanoseconds) * elements;
}

void update_parameter(const OptimizerRule& rule, const OptimizedParameter& p) noexcept {
    const double step = double(++*p.steps);
    const double nanoseconds = update_nanoseconds(rule, double(p.size));
    const double lr = std::isnan(p.lr) ? rule.lr : p.lr;
    const double weight_decay = std::isnan(p.weight_decay) ? rule.weight_decay : p.weight_decay;
    if (rule.kind == Optimizer::sgd) {
        const SgdUpdate task{p.data, p.gradient,    p.wide,       p.velocity,
                             lr,     rule.momentum, weight_decay, rule.nesterov};
        return run_update(kernels().sgd_update, task, p, nanoseconds);
    }
    if (rule.kind == Optimizer::rmsprop) {
        const RmspropUpdate task{p.data, p.gradient, p.wide,        p.second, p.first,     p.velocity,
                                 lr,     rule.beta2, rule.momentum, rule.eps, weight_decay};
        return run_update(kernels().rmsprop_update, task, p, nanoseconds);
    }
    if (rule.kind == Optimizer::lion) {
        const LionUpdate task{p.data, p.gradient, p.wide,     p.first,
                              lr,     rule.beta1, rule.beta2, 1 - lr * weight_decay};
        return run_update(kernels().lion_update, task, p, nanoseconds);
    }
    const double bias1 = 1 - std::pow(rule.beta1, step), bias2 = 1 - std::pow(rule.beta2, step);
    AdamUpdate task;
    task.parameter = p.data;
    task.gradient = p.gradient;
    task.wide = p.wide;
    task.first = p.first;
    task.second = p.second;
    task.beta1 = rule.beta1;
    task.beta2 = rule.beta2;
    task.step_size = lr / bias1;
    task.second_scale = 1 / std::sqrt(bias2);
    // Without the correction eps stands beside sqrt(v), not sqrt(v / bias2): the short form of the paper's
    // section 2.
    task.eps = rule.corrected_eps ? rule.eps : rule.eps / std::sqrt(bias2);
    task.weight_decay = rule.decoupled ? 0 : weight_decay;
    task.shrink = rule.decoupled ? 1 - lr * weight_decay : 1;
    run_update(kernels().adam_update, task, p, nanoseconds);
}

double clip_gradients(const std::vector<GradientArray>& gradients, double max_norm) noexcept {
    const double norm = norm_of(gradients), scale = max_norm / (norm + 1e-6);
    if (std::isinf(max_norm) || scale >= 1) return norm;
    for (const GradientArray& gradient : gradients) {
        const Work work{gradient.size, elements_per_chunk, scale_nanoseconds * double(gradient.size), 0};
        run_without_scratch(
            kernels().scale_gradient[int(gradient.element)], GradientScale{gradient.data, scale}, work
        );
    }
    return norm;
}

double clip_nanoseconds(double elements) { return (squares_nanoseconds + scale_nanoseconds) * elements; }

}  // namespace fastnorm
