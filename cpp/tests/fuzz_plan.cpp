// Fuzz target: bytes choose an op, shapes, layouts and options; it is planned and run on memory that fits
// exactly, once in that layout on threads and once in C order on one thread. Both must give the same bits,
// write every element of the results and nothing else, and leave the inputs alone.
#include <algorithm>
#include <cmath>
#include <optional>

#include "fuzz_source.h"
#include "plan/attention.h"
#include "plan/channel_norms.h"
#include "plan/class_losses.h"
#include "plan/elementwise.h"
#include "plan/linear.h"
#include "plan/memory.h"
#include "plan/norms.h"
#include "plan/softmax.h"
#include "plan/training.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

namespace {

constexpr double eps = 1e-5;

// Runs a kernel, on threads where the layout is not plain however little there is to do.
template <class Task>
void run_on_threads(Run& run, Kernel<Task> kernel, const Task& task, Work work) {
    if (!run.plain) work.nanoseconds = 1e9;
    if (!fastnorm::run(kernel, task, work)) fail("no memory for scratch");
}

void expect(bool done) {
    if (!done) fail("no memory for scratch");
}

// An array of one axis as parameters are: contiguous, of the compute type.
FuzzArray parameter(Run& run, std::int64_t count, Element element, bool filled = true) {
    Run straight{Source(nullptr, 0), true};
    straight.arrays = run.arrays;
    FuzzArray array(straight, {count}, compute_element(element), filled);
    run.arrays = straight.arrays;
    return array;
}
FuzzArray like(Run& run, const FuzzArray& array, Element element) {
    return FuzzArray(run, array.shape(), element, false);
}

// ---- norms, softmax, losses over rows ---------------------------------------------------------------------

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

// ---- element by element -----------------------------------------------------------------------------------

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
    const View* const arrays[] = {
        &views[0], &views[1], nullptr, run.source.flag() ? &views[2] : nullptr,
        run.source.flag() ? &views[3] : nullptr
    };
    ElementwiseLoss task = {};
    task.scale = 0.5;
    Geometry geometry;
    const Work work = plan_elementwise_loss(task, geometry, arrays, run.source.flag(), 1);
    const FuzzArray sums = parameter(run, work.units, Element::float64, false);
    task.sums = reinterpret_cast<double*>(sums.at(0));
    run_on_threads(run, kernels().mse_loss[int(element)], task, work);
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

// ---- products ---------------------------------------------------------------------------------------------

void dense(Run& run) {
    const Element element = run.source.element();
    Shape rows = run.source.shape(0, 2, 150);
    const std::int64_t in = run.source.extent(), out = run.source.extent();
    const auto with = [&](std::int64_t cols) {
        Shape shape = rows;
        shape.push_back(cols);
        return shape;
    };
    const FuzzArray x(run, with(in), element), dy(run, with(out), element), y(run, with(out), element, false);
    const FuzzArray weight(run, {in, out}, element), up(run, {in, out}, element);
    const FuzzArray dx(run, with(in), element, false),
        dweight(run, {in, out}, compute_element(element), false),
        dup(run, {in, out}, compute_element(element), false);
    const FuzzArray bias = parameter(run, out, element);
    const FuzzArray dbias = parameter(run, out, element, false);
    constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::sigmoid};
    const Activation activation = run.source.one_of(activations);
    if (run.source.flag()) {
        const Layer layer{x, weight, bias.at(0), activation};
        expect(run_linear(layer, y));
        expect(run_linear_backward(layer, dy, {dx, dweight, dbias.at(0)}));
    } else {
        const GatedLayer layer{x, weight, up, bias.at(0), nullptr, activation, 1};
        expect(run_gated_linear(layer, y));
        expect(run_gated_linear_backward(layer, dy, {dx, dweight, dup, dbias.at(0), nullptr}));
        dup.add_to(run);
    }
    y.add_to(run), dx.add_to(run), dweight.add_to(run), dbias.add_to(run);
    x.check_unchanged(), weight.check_unchanged(), dy.check_unchanged();
}

void attend(Run& run) {
    const Element element = run.source.element();
    const Shape lead = run.source.shape(0, 2, 12);
    const bool one_query = run.source.flag();
    const std::int64_t queries = run.source.extent() % 70, slots = run.source.extent() % 150,
                       dim = run.source.extent() % 40, width = run.source.extent() % 40;
    const auto of = [&](std::int64_t rows, std::int64_t cols, bool has_rows) {
        Shape shape = lead;
        if (has_rows) shape.push_back(rows);
        shape.push_back(cols);
        return shape;
    };
    const FuzzArray query(run, of(queries, dim, !one_query), element),
        keys(run, of(slots, dim, true), element), values(run, of(slots, width, true), element),
        dy(run, of(queries, width, !one_query), element);
    const FuzzArray y = like(run, dy, element), dquery = like(run, query, element),
                    dkeys = like(run, keys, element), dvalues = like(run, values, element);
    const FuzzArray weights(run, of(queries, slots, !one_query), element, false);
    const FuzzArray added(
        run, of(run.source.flag() ? 1 : queries, slots, !one_query), compute_element(element)
    );
    const bool masked = run.source.flag(), weighted = run.source.flag();
    Heads heads{query, keys, values, one_query};
    HeadGeometry geometry;
    AttentionBackward task = {};
    Attention& forward = task.forward;
    geometry.describe(forward, heads, {added, masked ? MaskKind::additive : MaskKind::none});
    forward.scale = 0.5;
    forward.linear = run.source.flag();
    forward.y = geometry.by_query(y, heads);
    if (weighted) forward.weights = geometry.by_query(weights, heads);
    run_on_threads(run, kernels().attention_forward[int(element)], forward, attention_work(forward, element));
    y.add_to(run);
    if (weighted) weights.add_to(run);
    HeadGeometry other;
    other.describe(forward, heads, {added, masked ? MaskKind::additive : MaskKind::none});
    task.dy = other.by_query(dy, heads);
    task.dquery = other.by_query(dquery, heads);
    task.dkeys = other.by_slot(dkeys, heads);
    task.dvalues = other.by_slot(dvalues, heads);
    const Guarded stats(std::size_t(attention_stats_bytes(forward, element)), true);
    task.stats = stats.data();
    expect(run_attention_backward(task, element));
    dquery.add_to(run), dkeys.add_to(run), dvalues.add_to(run);
    query.check_unchanged(), keys.check_unchanged(), values.check_unchanged();
}

// ---- training ---------------------------------------------------------------------------------------------

void train(Run& run) {
    const Element element = run.source.flag() ? Element::float64 : Element::float32;
    std::vector<std::int64_t> sizes;
    for (std::int64_t i = 0, count = 2 + run.source.below(3); i < count; ++i)
        sizes.push_back(std::max<std::int64_t>(run.source.extent() % 70, 1));
    const std::int64_t rows = 1 + run.source.below(250), outputs = sizes.back();
    const FuzzArray x(run, {rows, sizes[0]}, element), target(run, {rows, outputs}, element);
    std::vector<FuzzArray> parameters, first, second;
    for (std::size_t l = 0; l + 1 < sizes.size(); ++l)
        parameters.push_back(parameter(run, sizes[l] * sizes[l + 1], element));
    const bool has_biases = run.source.flag();
    for (std::size_t l = 0; has_biases && l + 1 < sizes.size(); ++l)
        parameters.push_back(parameter(run, sizes[l + 1], element));
    constexpr Activation activations[] = {Activation::relu, Activation::tanh, Activation::gelu};
    const Activation hidden = run.source.one_of(activations);
    Lesson lesson;
    lesson.network.start(element, has_biases, sizes.size() - 1);
    std::vector<Shape> shapes, strides;
    for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
        shapes.push_back({sizes[l], sizes[l + 1]});
        strides.push_back({sizes[l + 1] * item_size(element), item_size(element)});
        lesson.network.add_layer(
            {parameters[l].at(0), element, 2, shapes[l].data(), strides[l].data(), true}, hidden
        );
    }
    for (std::size_t l = 0; has_biases && l + 1 < sizes.size(); ++l)
        lesson.network.add_bias(l, parameters[sizes.size() - 1 + l]);
    std::vector<std::int64_t> classes, order;
    std::vector<double> weights;
    for (std::int64_t i = 0; i < rows; ++i) {
        classes.push_back(i * 5 % outputs);
        order.push_back(i * 3 % rows);
        weights.push_back(double(1 + i % 3));
    }
    const View xv = x, tv = target;
    lesson.x = {xv.data, rows, sizes[0], xv.strides[0], xv.strides[1]};
    TrainingLoss& loss = lesson.loss;
    constexpr LossKind losses[] = {
        LossKind::mse, LossKind::squared_error, LossKind::cross_entropy, LossKind::poly, LossKind::focal
    };
    loss.kind = run.source.one_of(losses);
    loss.option = 1;
    loss.outputs = outputs;
    loss.element = element;
    loss.classes = is_over_classes(loss.kind) ? classes.data() : nullptr;
    loss.target = is_over_classes(loss.kind) ? nullptr : tv.data;
    loss.row_stride = tv.strides[0], loss.col_stride = tv.strides[1];
    loss.sample_weight = run.source.flag() ? weights.data() : nullptr;
    Epoch epoch(lesson);
    epoch.rule.lr = 0.01;
    std::int64_t steps = 0;
    if (run.source.flag()) {
        epoch.rule.is_adam = true;
        epoch.rule.beta1 = 0.9, epoch.rule.beta2 = 0.99, epoch.rule.eps = 1e-8;
        epoch.rule.corrected_eps = true, epoch.rule.steps = &steps;
    }
    const std::vector<double> zeros(70 * 70, 0.0);
    for (const FuzzArray& array : parameters) {
        first.push_back(parameter(run, array.size(), element));
        second.push_back(parameter(run, array.size(), element));
        for (FuzzArray* state : {&first.back(), &second.back()}) {
            for (std::int64_t i = 0; i < state->size(); ++i)
                std::memset(state->at(i), 0, std::size_t(item_size(element)));
        }
        OptimizedParameter p;
        p.data = array.at(0), p.size = array.size(), p.element = element;
        if (epoch.rule.is_adam) p.first = first.back().at(0), p.second = second.back().at(0);
        epoch.parameters.push_back(p);
    }
    epoch.order = run.source.flag() ? order.data() : nullptr;
    epoch.count = rows;
    epoch.batch = 1 + run.source.below(rows);
    expect(lesson.reserve(epoch.batch));
    epoch.run(nullptr);
    run.add(epoch.total);
    for (const FuzzArray& array : parameters) array.add_to(run);
    x.check_unchanged(), target.check_unchanged();
}

void embed(Run& run) {
    const Element element = run.source.flag() ? Element::float64 : Element::float32;
    SentenceShape size{
        run.source.extent(), run.source.extent() % 9, 1 + run.source.below(50), run.source.extent() % 70
    };
    const FuzzArray table = parameter(run, size.rows * size.dim, element),
                    dy = parameter(run, size.count * size.dim, element),
                    encoding = parameter(run, size.positions * size.dim, element),
                    wide = parameter(run, size.positions * size.dim, Element::float64);
    const FuzzArray y = parameter(run, size.count * size.dim, element, false),
                    dtable = parameter(run, size.rows * size.dim, element, false);
    std::vector<std::int64_t> words, first(std::size_t(size.rows + 1));
    for (std::int64_t i = 0; i < size.words(); ++i) words.push_back(i * i % size.rows);
    std::vector<WordPlace> places(words.size());
    sort_places(size, words.data(), first.data(), places.data());
    const EmbeddingSum task{table.at(0), words.data(), encoding.at(0), y.at(0), size.positions, size.dim};
    run_on_threads(run, kernels().embedding_sum[int(element)], task, embedding_work(size, element));
    const EmbeddingSumBackward backward{dy.at(0),      reinterpret_cast<const double*>(wide.at(0)),
                                        places.data(), first.data(),
                                        dtable.at(0),  size.dim};
    run_on_threads(
        run, kernels().embedding_sum_backward[int(element)], backward, embedding_backward_work(size, element)
    );
    y.add_to(run), dtable.add_to(run), table.check_unchanged();
}

// ---- arrays without elements and as long as there can be: no size may overflow
// ------------------------------

void endless(Run& run) {
    Shape shape, strides;
    const Element element = run.source.element();
    std::int64_t size = 1;
    for (int i = 0, ndim = int(1 + run.source.below(5)); i < ndim; ++i) {
        std::int64_t length = std::int64_t(1) << run.source.below(49);
        if (length > (std::int64_t(1) << 48) / size) length = 1;
        size *= length;
        shape.push_back(length);
        strides.push_back(item_size(element));
    }
    shape[std::size_t(run.source.below(std::int64_t(shape.size())))] = 0;
    const View x{nullptr, element, int(shape.size()), shape.data(), strides.data(), true};
    const Axes axes = run.source.axes(x.ndim);
    Axes last;
    last.axis[last.count++] = x.ndim - 1;
    const std::int64_t cols = x.shape[x.ndim - 1];
    const View* const all[] = {&x, &x};
    Geometry geometry;
    geometry.set_norm(all, 2, axes);
    if (geometry.rows.rows != 0 && geometry.rows.cols != 0) fail("elements where there are none");
    NormForward norm;
    plan_norm_forward(norm, geometry, x, x, axes, true);
    NormBackward backward;
    plan_norm_backward(backward, geometry, x, x, x, axes, true);
    SoftmaxForward softmax;
    plan_softmax_forward(softmax, geometry, x, x, last, true);
    ClassLoss loss = {};
    if (cols > 0) plan_class_loss(loss, geometry, x, &x, nullptr, last, true);
    Elementwise each = {};
    const View pair[] = {x, x};
    if (plan_elementwise(each, geometry, pair, 1, 1, true, 1).units != 0) fail("segments of nothing");
    const MatrixView matrix(x, element);
    if (matrix.rows() != 0 && matrix.cols() != 0) fail("elements where there are none");
}

using Op = void (*)(Run&);
constexpr Op ops[] = {norm_forward, norm_backward, sum_norm, soft_maximum, class_loss, elements, element_loss,
                      channel_norm, moments,       dense,    attend,       train,      embed,    endless};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Source source(data, size);
    static const std::vector<std::string> targets = available_targets();
    set_target(targets[std::size_t(source.below(std::int64_t(targets.size())))]);
    const Op op = source.one_of(ops);
    std::uint64_t digests[2];
    for (const bool plain : {false, true}) {
        set_num_threads(plain ? 1 : 3);
        Run run{source, plain};
        op(run);
        digests[plain] = run.digest;
    }
    if (check::failed > 0) fail("a call writes before or behind an array");
    if (digests[0] != digests[1]) fail("other bits in another layout");
    return 0;
}
