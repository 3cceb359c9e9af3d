// Fuzzed: what works on rows, norms, softmax and losses over classes.
#pragma once

#include "fuzz_run.h"
#include "plan/class_losses.h"
#include "plan/norms.h"
#include "plan/softmax.h"

namespace {

std::int64_t columns(const FuzzArray& x, const Axes& axes) {
    std::int64_t cols = 1;
    for (int i = 0; i < axes.count; ++i) cols *= x.shape()[std::size_t(axes.axis[i])];
    return cols;
}

void norm_forward(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(1, 4), element), y = like(run, x, element);
    const Axes axes = run.source.axes(View(x).ndim);
    const bool centred = run.source.flag(), affine = run.source.flag();
    const double fraction = run.source.flag() ? 0.3 : 1;
    const std::int64_t cols = columns(x, axes), rows = cols > 0 ? x.size() / cols : 0;
    const FuzzArray weight = parameter(run, cols, element), bias = parameter(run, cols, element);
    const FuzzArray mean = parameter(run, rows, element, false), rstd = parameter(run, rows, element, false);
    Geometry geometry;
    NormForward task;
    const Work work = plan_norm_forward(task, geometry, x, y, axes, run.source.flag());
    if (task.shape.cols == 0) return;
    task.weight = affine ? weight.at(0) : nullptr;
    task.bias = affine ? bias.at(0) : nullptr;
    task.eps = eps;
    task.counted = counted_columns(centred ? 1 : fraction, cols);
    task.mean = centred ? mean.at(0) : nullptr;
    task.rstd = rstd.at(0);
    const KernelTable& all = kernels();
    run_on_threads(
        run, centred ? all.layer_norm_forward[int(element)] : all.rms_norm_forward[int(element)], task, work
    );
    y.add_to(run), rstd.add_to(run), x.check_unchanged(), weight.check_unchanged();
    if (centred) mean.add_to(run);
}

void norm_backward(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(1, 4), element), dy(run, x.shape(), element);
    const FuzzArray dx = like(run, x, element);
    const Axes axes = run.source.axes(View(x).ndim);
    const bool centred = run.source.flag(), affine = run.source.flag();
    const std::int64_t cols = columns(x, axes);
    const FuzzArray weight = parameter(run, cols, element);
    const FuzzArray dweight = parameter(run, cols, element, false),
                    dbias = parameter(run, cols, element, false);
    Geometry geometry;
    NormBackward task;
    Work work = plan_norm_backward(task, geometry, dy, x, dx, axes, run.source.flag());
    if (task.shape.cols == 0) return;
    task.weight = affine ? weight.at(0) : nullptr;
    task.eps = eps;
    task.counted = counted_columns(1, cols);
    task.mean = task.rstd = nullptr;
    if (!run.plain) work.nanoseconds = 1e9;
    const KernelTable& all = kernels();
    const auto kernel = centred ? all.layer_norm_backward[int(element)] : all.rms_norm_backward[int(element)];
    expect(run_norm_backward(
        kernel, task, task, work, element, affine ? dweight.at(0) : nullptr, affine ? dbias.at(0) : nullptr
    ));
    dx.add_to(run), dy.check_unchanged(), x.check_unchanged();
    if (affine) dweight.add_to(run), dbias.add_to(run);
}

void sum_norm(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(1, 3), element), residual(run, x.shape(), element);
    const FuzzArray dy(run, x.shape(), element), dsummed(run, x.shape(), element);
    const FuzzArray y = like(run, x, element), summed = like(run, x, element);
    const FuzzArray dx = like(run, x, element), dresidual = like(run, x, element);
    const Axes axes = run.source.axes(View(x).ndim);
    const bool returns_sum = run.source.flag(), has_dy = run.source.flag();
    const bool has_dsummed = !has_dy || run.source.flag();
    const std::int64_t cols = columns(x, axes);
    const FuzzArray weight = parameter(run, cols, element);
    const FuzzArray dweight = parameter(run, cols, element, false);
    const View xv = x, rv = residual, yv = y, sv = summed, dyv = dy, dsv = dsummed, dxv = dx, drv = dresidual;
    Geometry geometry;
    AddNormForward forward;
    Work work = plan_add_norm_forward(
        forward, geometry, {&xv, &rv, &yv, returns_sum ? &sv : nullptr}, axes, run.source.flag()
    );
    if (geometry.rows.cols == 0) return;
    forward.norm.weight = weight.at(0);
    forward.norm.bias = nullptr;
    forward.norm.eps = eps;
    forward.alpha = 0.75;
    run_on_threads(run, kernels().add_layer_norm_forward[int(element)], forward, work);
    y.add_to(run);
    if (returns_sum) summed.add_to(run);
    Geometry other;
    AddNormBackward task;
    work = plan_add_norm_backward(
        task, other, {has_dy ? &dyv : nullptr, has_dsummed ? &dsv : nullptr, &xv, &rv, &dxv, &drv}, axes,
        run.source.flag()
    );
    task.norm.weight = weight.at(0);
    task.norm.eps = eps;
    task.alpha = 0.75;
    if (!run.plain) work.nanoseconds = 1e9;
    expect(run_norm_backward(
        kernels().add_layer_norm_backward[int(element)], task, task.norm, work, element, dweight.at(0),
        nullptr
    ));
    dx.add_to(run), dresidual.add_to(run), dweight.add_to(run);
    x.check_unchanged(), residual.check_unchanged();
}

void soft_maximum(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(1, 4), element), dy(run, x.shape(), element);
    const FuzzArray y = like(run, x, element), dx = like(run, x, element);
    Axes axis;
    axis.axis[axis.count++] = int(run.source.below(View(x).ndim));
    Geometry geometry, other;
    SoftmaxForward forward;
    SoftmaxBackward backward;
    Work work = plan_softmax_forward(forward, geometry, x, y, axis, run.source.flag());
    if (forward.shape.cols == 0) return;
    const KernelTable& all = kernels();
    const bool logarithm = run.source.flag();
    run_on_threads(
        run, logarithm ? all.log_softmax_forward[int(element)] : all.softmax_forward[int(element)], forward,
        work
    );
    work = plan_softmax_backward(backward, other, dy, x, dx, axis, run.source.flag());
    run_on_threads(run, all.softmax_backward[int(element)], backward, work);
    y.add_to(run), dx.add_to(run), x.check_unchanged();
}

void class_loss(Run& run) {
    const Element element = run.source.element();
    const FuzzArray logits(run, run.source.shape(1, 4), element), gradient = like(run, logits, element);
    const FuzzArray probabilities(run, logits.shape(), element);
    Axes axis;
    axis.axis[axis.count++] = int(run.source.below(View(logits).ndim));
    const std::int64_t classes = columns(logits, axis);
    if (classes == 0) return;
    const std::int64_t rows = logits.size() / classes;
    const FuzzArray weight = parameter(run, classes, element),
                    losses = parameter(run, rows, Element::float64);
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < rows; ++i) labels.push_back(i % 5 == 3 ? -1 : i * 7 % classes);
    const bool has_labels = run.source.flag(), has_weight = run.source.flag();
    ClassLoss task = {};
    const double epsilon[] = {0.5, -0.25};
    task.epsilon = epsilon;
    task.terms = run.source.below(3);
    task.label_smoothing = run.source.flag() ? 0.1 : 0;
    task.scale = 0.5;
    if (has_labels) task.labels = labels.data();
    if (has_labels && task.terms == 0 && task.label_smoothing == 0 && run.source.flag()) task.gamma = 2;
    Geometry geometry;
    const View given = gradient, target = probabilities;
    const Work work = plan_class_loss(
        task, geometry, logits, run.source.flag() ? &given : nullptr, has_labels ? nullptr : &target, axis,
        run.source.flag()
    );
    task.weight = has_weight && task.terms == 0 && task.gamma == 0 ? weight.at(0) : nullptr;
    task.weight_sum = weight_of_classes(task.weight, classes, compute_element(element));
    task.losses = reinterpret_cast<double*>(losses.at(0));
    run_on_threads(run, kernels().class_loss[int(element)], task, work);
    losses.add_to(run), logits.check_unchanged();
    if (task.gradient.data) gradient.add_to(run);
}

}  // namespace
