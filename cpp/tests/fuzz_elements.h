// Fuzzed: what works element by element, and the norms over channels.
#pragma once

#include "fuzz_run.h"
#include "plan/channel_norms.h"
#include "plan/elementwise.h"

namespace {

void elements(Run& run) {
    const Element element = run.source.element();
    const Shape shape = run.source.shape(0, 5);
    std::vector<FuzzArray> arrays;
    const int inputs = int(1 + run.source.below(3)), results = inputs == 3 ? 2 : 1;
    for (int k = 0; k < inputs + results; ++k) arrays.emplace_back(run, shape, element, k < inputs);
    std::vector<View> views(arrays.begin(), arrays.end());
    Gate task = {};
    Geometry geometry;
    const Work work = plan_elementwise(task, geometry, views.data(), inputs, results, run.source.flag(), 1);
    const KernelTable& all = kernels();
    const int e = int(element);
    const Kernel<Elementwise> unary[] = {all.gelu_forward[e], all.silu_forward[e], all.relu_forward[e]};
    const Kernel<Elementwise> backward[] = {all.gelu_backward[e], all.silu_backward[e], all.tanh_backward[e]};
    const Kernel<Gate> gates[] = {all.swiglu_forward[e], all.glu_forward[e]};
    if (inputs == 1) {
        run_on_threads<Elementwise>(run, run.source.one_of(unary), task, work);
    } else if (inputs == 3) {
        run_on_threads(run, all.swiglu_backward[e], task, work);
    } else if (run.source.flag()) {
        run_on_threads<Elementwise>(run, run.source.one_of(backward), task, work);
    } else {
        run_on_threads(run, run.source.one_of(gates), task, work);
    }
    for (int k = 0; k < inputs + results; ++k) {
        if (k < inputs) arrays[std::size_t(k)].check_unchanged();
        if (k >= inputs) arrays[std::size_t(k)].add_to(run);
    }
}

void element_loss(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(0, 4), element), target(run, x.shape(), element);
    const FuzzArray losses = like(run, x, element), gradient = like(run, x, element);
    const View views[] = {x, target, losses, gradient};
    // A weight of each element, and one that all rows share.
    const Element compute = element == Element::float64 ? Element::float64 : Element::float32;
    const FuzzArray weight(run, x.shape(), compute);
    const View pos_weight_row = weight;
    const std::ptrdiff_t no_steps[max_axes] = {};
    const View weights[] = {
        weight, {pos_weight_row.data, compute, pos_weight_row.ndim, pos_weight_row.shape, no_steps, false}
    };
    const bool is_weighted = run.source.flag();
    const View* const arrays[ElementwiseLoss::all_roles] = {
        &views[0],
        &views[1],
        nullptr,
        run.source.flag() ? &views[2] : nullptr,
        run.source.flag() ? &views[3] : nullptr,
        is_weighted ? &weights[0] : nullptr,
        is_weighted ? &weights[1] : nullptr
    };
    ElementwiseLoss task = {};
    task.scale = 0.5;
    task.top = task.rise[0] = task.rise[1] = 1, task.bend = 0.5;
    Geometry geometry;
    const Work work = plan_elementwise_loss(task, geometry, arrays, true, run.source.flag(), 1);
    const FuzzArray sums = parameter(run, work.units, Element::float64, false);
    task.sums = reinterpret_cast<double*>(sums.at(0));
    const Kernel<ElementwiseLoss> plain[] = {
        kernels().mse_loss[int(element)], kernels().huber_loss[int(element)]
    };
    const Kernel<ElementwiseLoss> kernel =
        is_weighted ? kernels().bce_with_logits[int(element)] : run.source.one_of(plain);
    run_on_threads(run, kernel, task, work);
    sums.add_to(run), x.check_unchanged(), target.check_unchanged();
    if (arrays[3]) losses.add_to(run);
    if (arrays[4]) gradient.add_to(run);
}

// ---- norms over channels ----------------------------------------------------------------------------------

void channel_norm(Run& run) {
    const Element element = run.source.element();
    const FuzzArray x(run, run.source.shape(1, 4), element), dy(run, x.shape(), element);
    const FuzzArray y = like(run, x, element), dx = like(run, x, element);
    const int axis = int(run.source.below(View(x).ndim));
    const std::int64_t count = x.shape()[std::size_t(axis)];
    std::int64_t groups = run.source.below(4);  // 0: none
    if (groups > 0 && (count % groups != 0 || x.size() == 0)) groups = 1;
    if (groups > 0 && x.size() == 0) return;
    const Channels size = groups > 0 ? groups_of(x, axis, groups) : channels_of(x, axis, axis + 1);
    const FuzzArray weight = parameter(run, count, element), bias = parameter(run, count, element);
    const FuzzArray dweight = parameter(run, count, element, false),
                    dbias = parameter(run, count, element, false);
    ChannelNormForward forward(size, axis, x, y, run.source.flag());
    expect(bool(forward));
    forward.task.weight = weight.at(0), forward.task.bias = bias.at(0), forward.task.eps = eps;
    expect(forward.run());
    ChannelNormBackward backward(size, axis, dy, x, dx, dweight.at(0), dbias.at(0), true, run.source.flag());
    expect(bool(backward));
    backward.task.forward.weight = weight.at(0), backward.task.forward.eps = eps;
    expect(backward.run());
    y.add_to(run), dx.add_to(run), dweight.add_to(run), dbias.add_to(run);
    x.check_unchanged(), dy.check_unchanged();
}

void moments(Run& run) {
    const FuzzArray x(run, run.source.shape(1, 4), run.source.element());
    const int ndim = View(x).ndim, first = int(run.source.below(ndim)),
              last = first + int(run.source.below(ndim - first + 1));
    const std::int64_t channels = channels_of(x, first, last).channels;
    const FuzzArray mean = parameter(run, channels, Element::float64, false),
                    m2 = parameter(run, channels, Element::float64, false);
    expect(run_moments(
        x, first, last, reinterpret_cast<double*>(mean.at(0)), reinterpret_cast<double*>(m2.at(0))
    ));
    mean.add_to(run), m2.add_to(run), x.check_unchanged();
}

}  // namespace
