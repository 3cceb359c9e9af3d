#include "plan/optim.h"

#include <cmath>

#include "plan/run.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, float32 in cache.
constexpr double sgd_nanoseconds = 0.15;
constexpr double adam_nanoseconds = 0.5;
constexpr std::int64_t elements_per_chunk = 16384;

// The kernels take no scratch, so there is nothing that could fail.
template <class Task>
void run_update(
    const Kernels<Task>& table, const Task& task, const OptimizedParameter& p, double nanoseconds
) {
    const Work work{p.size, elements_per_chunk, nanoseconds, 0};
    const auto kernel = table[int(p.element)];
    if (work.chunks() <= 1) return kernel(task, 0, p.size, nullptr);
    share_out(work, threads_for(work), nullptr, [&](std::int64_t begin, std::int64_t end, void*) {
        kernel(task, begin, end, nullptr);
    });
}

}  // namespace

double update_nanoseconds(const OptimizerRule& rule, double elements) {
    return (rule.is_adam ? adam_nanoseconds : sgd_nanoseconds) * elements;
}

void update_parameter(const OptimizerRule& rule, const OptimizedParameter& p) noexcept {
    const double step = double(++*p.steps);
    const double nanoseconds = update_nanoseconds(rule, double(p.size));
    if (!rule.is_adam) {
        const SgdUpdate task{p.data,        p.gradient,        p.wide,       p.first, rule.lr,
                             rule.momentum, rule.weight_decay, rule.nesterov};
        return run_update(kernels().sgd_update, task, p, nanoseconds);
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
    task.step_size = rule.lr / bias1;
    task.second_scale = 1 / std::sqrt(bias2);
    // Without the correction eps stands beside sqrt(v), not sqrt(v / bias2): the short form of the paper's
    // section 2.
    task.eps = rule.corrected_eps ? rule.eps : rule.eps / std::sqrt(bias2);
    task.weight_decay = rule.decoupled ? 0 : rule.weight_decay;
    task.shrink = rule.decoupled ? 1 - rule.lr * rule.weight_decay : 1;
    run_update(kernels().adam_update, task, p, nanoseconds);
}

}  // namespace fastnorm
