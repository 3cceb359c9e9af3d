// Fuzzed: dense layers, attention, training and embeddings.
#pragma once

#include <algorithm>

#include "fuzz_run.h"
#include "plan/attention.h"
#include "plan/linear.h"
#include "plan/linear_cross_entropy.h"
#include "plan/memory.h"
#include "plan/training.h"

namespace {

void classify(Run& run) {
    const Element element = run.source.element();
    const std::int64_t rows = run.source.extent(), in = run.source.extent(),
                       classes = 1 + run.source.extent();
    const FuzzArray x(run, {rows, in}, element), weight(run, {in, classes}, element);
    const FuzzArray dx(run, {rows, in}, element, false),
        bias = parameter(run, classes, element), dloss = parameter(run, rows, element),
        losses = parameter(run, rows, Element::float64), again = parameter(run, rows, Element::float64),
        dweight = parameter(run, in * classes, element, false),
        dbias = parameter(run, classes, element, false);
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < rows; ++i) labels.push_back(i % 5 == 3 ? -1 : i * 7 % classes);
    const std::ptrdiff_t shape[] = {in, classes}, size = item_size(compute_element(element)),
                         strides[] = {classes * size, size};
    const View contiguous{dweight.at(0), compute_element(element), 2, shape, strides, true};
    ClassifierLoss loss{
        element,
        {x, element},
        {weight, element},
        bias.at(0),
        labels.data(),
        run.source.flag() ? 0.1 : 0,
        reinterpret_cast<double*>(losses.at(0)),
        run.source.flag() ? dloss.at(0) : nullptr,
        0.5
    };
    expect(run_classifier_gradients(loss, {{dx, element}, {contiguous, element}, dbias.at(0)}));
    loss.losses = reinterpret_cast<double*>(again.at(0));
    expect(run_classifier_loss(loss));
    losses.add_to(run), again.add_to(run), dx.add_to(run), dweight.add_to(run), dbias.add_to(run);
    x.check_unchanged(), weight.check_unchanged();
}

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
    const MatrixView result(y, element), slopes(dy, element);
    if (run.source.flag()) {
        const Layer layer{element, {x, element}, {weight, element}, bias.at(0), activation};
        expect(run_linear(layer, result));
        expect(run_linear_backward(layer, slopes, {{dx, element}, {dweight, element}, dbias.at(0)}));
    } else {
        const GatedLayer layer{element,    {x, element}, {weight, element}, {up, element},
                               bias.at(0), nullptr,      activation,        1};
        expect(run_gated_linear(layer, result));
        expect(run_gated_linear_backward(
            layer, slopes, {{dx, element}, {dweight, element}, {dup, element}, dbias.at(0), nullptr}
        ));
        dup.add_to(run);
    }
    y.add_to(run), dx.add_to(run), dweight.add_to(run), dbias.add_to(run);
    x.check_unchanged(), weight.check_unchanged(), dy.check_unchanged();
    if (run.source.flag()) classify(run);
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
    constexpr Causality causalities[] = {Causality::none, Causality::upper_left, Causality::lower_right};
    if (!one_query) heads.causality = run.source.one_of(causalities);
    HeadGeometry geometry;
    AttentionBackward task = {};
    Attention& forward = task.forward;
    geometry.describe(forward, heads, {added, masked ? MaskKind::additive : MaskKind::none});
    forward.scale = 0.5;
    forward.linear = run.source.flag();
    if (run.source.below(4) == 3) forward.softcap = 0.5;
    if (run.source.below(4) == 3) forward.dropped = 12345;
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
    std::vector<std::int64_t> steps(parameters.size());
    constexpr Optimizer kinds[] = {Optimizer::sgd, Optimizer::adam, Optimizer::rmsprop, Optimizer::lion};
    epoch.rule.kind = run.source.one_of(kinds);
    const bool has_moments = epoch.rule.kind != Optimizer::sgd;
    if (has_moments) {
        epoch.rule.beta1 = 0.9, epoch.rule.beta2 = 0.99, epoch.rule.eps = 1e-8;
        epoch.rule.corrected_eps = true;
    }
    for (const FuzzArray& array : parameters) {
        first.push_back(parameter(run, array.size(), element));
        second.push_back(parameter(run, array.size(), element));
        for (FuzzArray* state : {&first.back(), &second.back()}) {
            for (std::int64_t i = 0; i < state->size(); ++i)
                std::memset(state->at(i), 0, std::size_t(item_size(element)));
        }
        OptimizedParameter p;
        p.data = array.at(0), p.size = array.size(), p.element = element;
        p.steps = &steps[epoch.parameters.size()];
        if (has_moments) p.first = first.back().at(0), p.second = second.back().at(0);
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

}  // namespace
