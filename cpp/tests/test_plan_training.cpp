// Networks and their training: the memory they take, and steps against plain loops in double.
#include "check.h"
#include "plan/training.h"
#include "runtime/dispatch.h"
#include "views.h"

#include <cmath>
#include <cstdio>

namespace {

struct Layers {
    std::vector<TestView> weights, biases;

    Layers(const std::vector<std::ptrdiff_t>& sizes, Element element) {
        for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
            weights.emplace_back(std::vector<std::ptrdiff_t>{sizes[l], sizes[l + 1]}, element).fill(10 + l);
            biases.emplace_back(std::vector<std::ptrdiff_t>{sizes[l + 1]}, element).fill(20 + l);
        }
    }
    void add_to(Network& network, Element element, Activation hidden) const {
        network.start(element, true, weights.size());
        for (std::size_t l = 0; l < weights.size(); ++l)
            network.add_layer(weights[l], l + 1 == weights.size() ? Activation::none : hidden);
        for (std::size_t l = 0; l < biases.size(); ++l) network.add_bias(l, biases[l]);
    }
};

RowMatrix rows_of(const TestView& x) {
    const View view = x;
    return {view.data, view.shape[0], view.shape[1], view.strides[0], view.strides[1]};
}

// ---- the memory of a network ------------------------------------------------------------------------------

void test_memory() {
    const Layers layers({20, 64, 3}, Element::float32);
    for (const int threads : {1, 3}) {
        set_num_threads(threads);
        Network network;
        layers.add_to(network, Element::float32, Activation::gelu);
        TrainingLoss loss;
        loss.outputs = 3;
        CHECK(network.reserve(100000, {true, false, &loss}));
        CHECK(network.threads() == threads);
        // A block's rows of x, z and a of the hidden layer, y, two gradients; then the slopes of the loss.
        const std::int64_t rows = mlp_block_rows, steps = 32 + 2 * 64 + 16 + 2 * 64;
        CHECK(network.slot_bytes() == rows * steps * 4 + 64);
        const std::int64_t packed = 20 * 64 + 64 + 64 * 16 + 3 * 64 + 16;
        // The narrow second weight is summed transposed, 3 x 64.
        const std::int64_t partials = 8 * (20 * 64 + 64 + 3 * 64 + 16);
        const std::int64_t gradients = 20 * 64 + 64 * 3 + 64 + 16;
        // The losses of eight groups, and the squares of two weights, each merged at once.
        const std::int64_t doubles = 8 + 2;
        CHECK(
            network.memory_bytes() ==
            (packed + partials + gradients) * 4 + threads * network.slot_bytes() + doubles * 8
        );
    }
    set_num_threads(4);
    Network small;
    layers.add_to(small, Element::float32, Activation::relu);
    CHECK(small.reserve(5, {}));
    CHECK(small.threads() == 1);
    set_num_threads(0);
    // No more than there is: 2^50 gradients of rows.
    const std::ptrdiff_t wide[] = {std::ptrdiff_t(1) << 25, std::ptrdiff_t(1) << 25}, strides[] = {0, 0};
    char element[8] = {};
    Network large;
    large.start(Element::float32, false, 1);
    large.add_layer({element, Element::float32, 2, wide, strides, false}, Activation::none);
    CHECK(!large.reserve(1, {true, false, nullptr}));
}

// ---- losses -----------------------------------------------------------------------------------------------

struct Kind {
    LossKind kind;
    double option;
};
constexpr Kind kinds[] = {
    {LossKind::mse, 0},
    {LossKind::squared_error, 0},
    {LossKind::poisson, 0},
    {LossKind::binary_cross_entropy, 0},
    {LossKind::binary_poly, 0.7},
    {LossKind::binary_focal, 1.5},
    {LossKind::cross_entropy, 0},
    {LossKind::poly, 0.3},
    {LossKind::focal, 2},
    {LossKind::bce, 0},
    {LossKind::l1, 0},
    {LossKind::huber, 0.6},
    {LossKind::smooth_l1, 0.4},
};

// The loss of a row of outputs, by its formula.
double plain_loss(const Kind& kind, const std::vector<double>& y, const std::vector<double>& t) {
    const std::size_t outputs = y.size();
    double sum = 0;
    const auto graded = [&](double nll) {  // of -log p
        const double p = std::exp(-nll);
        if (kind.kind == LossKind::binary_poly || kind.kind == LossKind::poly)
            return nll + kind.option * (1 - p);
        if (kind.kind == LossKind::binary_focal || kind.kind == LossKind::focal)
            return std::pow(1 - p, kind.option) * nll;
        return nll;
    };
    double total = 0;
    for (const double z : y) total += std::exp(z);
    for (std::size_t j = 0; j < outputs; ++j) {
        if (kind.kind == LossKind::mse || kind.kind == LossKind::squared_error) {
            sum += (y[j] - t[j]) * (y[j] - t[j]) / double(outputs) * (kind.kind == LossKind::mse ? 1 : 0.5);
        } else if (kind.kind == LossKind::poisson) {
            sum += (t[j] * std::log(t[j]) - t[j] * y[j] - t[j] + std::exp(y[j])) / double(outputs);
        } else if (kind.kind == LossKind::l1) {
            sum += std::fabs(y[j] - t[j]) / double(outputs);
        } else if (kind.kind == LossKind::huber || kind.kind == LossKind::smooth_l1) {
            const double d = std::fabs(y[j] - t[j]), limit = kind.option;
            const double huber = d <= limit ? d * d / 2 : limit * (d - limit / 2);
            sum += huber / (kind.kind == LossKind::huber ? 1 : limit) / double(outputs);
        } else if (!is_over_classes(kind.kind)) {
            const double cross =
                t[j] * graded(std::log1p(std::exp(-y[j]))) + (1 - t[j]) * graded(std::log1p(std::exp(y[j])));
            sum += cross / (kind.kind == LossKind::bce ? double(outputs) : 1);
        } else if (t[j] > 0) {
            sum += graded(std::log(total) - y[j]);
        }
    }
    return sum;
}

// scikit-learn averages these losses over the outputs, but not their gradients.
bool is_undivided(LossKind kind) { return kind == LossKind::squared_error || kind == LossKind::poisson; }

// Values, and slopes by central differences; what lies beside the outputs stays.
void test_losses() {
    constexpr std::int64_t count = 5, outputs = 3, step = 8;
    TestView target({count, outputs}, Element::float64);
    target.fill(7);
    for (std::int64_t i = 0; i < count * outputs; ++i) target.set(i, 0.5 + 0.45 * target.get(i));
    const std::int64_t classes[count] = {2, 0, 1, 1, 2};
    const double weights[count] = {1, 0.5, 2, 0, 3};
    for (const Kind& kind : kinds) {
        TrainingLoss loss;
        loss.kind = kind.kind, loss.option = kind.option, loss.outputs = outputs;
        loss.element = Element::float64;
        loss.sample_weight = weights;
        loss.scale = 0.125;
        const bool over_classes = is_over_classes(kind.kind);
        loss.classes = over_classes ? classes : nullptr;
        loss.target = over_classes ? nullptr : target.at(0);
        loss.row_stride = outputs * 8, loss.col_stride = 8;
        double y[count * step], dy[count * step];
        for (std::int64_t i = 0; i < count * step; ++i) y[i] = std::sin(double(i)), dy[i] = 77;
        Buffer scratch(std::size_t(loss_scratch_bytes(loss, 8)));
        double total = 0;
        add_loss(loss, 8, {0, count, step, y, dy}, scratch.data(), total);
        double expected = 0;
        bool slopes = true;
        for (std::int64_t r = 0; r < count; ++r) {
            std::vector<double> row(y + r * step, y + r * step + outputs), t(std::size_t(outputs), 0);
            for (std::int64_t j = 0; j < outputs; ++j)
                t[std::size_t(j)] = over_classes ? double(classes[r] == j) : target.get(r * outputs + j);
            const double share = weights[r] * loss.scale;
            const double undivided = is_undivided(kind.kind) ? double(outputs) : 1;
            expected += share * plain_loss(kind, row, t);
            for (std::size_t j = 0; j < std::size_t(outputs); ++j) {
                std::vector<double> above = row, below = row;
                above[j] += 1e-5, below[j] -= 1e-5;
                const double slope =
                    undivided * share * (plain_loss(kind, above, t) - plain_loss(kind, below, t)) / 2e-5;
                slopes = slopes && std::fabs(dy[r * step + std::int64_t(j)] - slope) < 1e-8;
            }
            for (std::int64_t j = outputs; j < step; ++j) slopes = slopes && dy[r * step + j] == 77;
        }
        CHECK(std::fabs(total - expected) < 1e-12);
        CHECK(slopes);
    }
}

// ---- steps ------------------------------------------------------------------------------------------------

// A two-layer network of relu with a mean squared error and SGD, in plain loops.
struct PlainNetwork {
    std::int64_t in, hidden, out;
    std::vector<double> w1, b1, w2, b2;

    // A step over rows of x, and the loss before it.
    double step(
        const std::vector<std::vector<double>>& x, const std::vector<std::vector<double>>& t, double lr
    ) {
        std::vector<double> dw1(w1.size()), db1(b1.size()), dw2(w2.size()), db2(b2.size());
        double loss = 0;
        for (std::size_t r = 0; r < x.size(); ++r) {
            std::vector<double> a(b1), y(b2), dz(b1.size());
            for (std::int64_t h = 0; h < hidden; ++h) {
                for (std::int64_t i = 0; i < in; ++i)
                    a[std::size_t(h)] += x[r][std::size_t(i)] * w1[std::size_t(i * hidden + h)];
                if (a[std::size_t(h)] < 0) a[std::size_t(h)] = 0;
                for (std::int64_t j = 0; j < out; ++j)
                    y[std::size_t(j)] += a[std::size_t(h)] * w2[std::size_t(h * out + j)];
            }
            for (std::int64_t j = 0; j < out; ++j) {
                const double d = y[std::size_t(j)] - t[r][std::size_t(j)],
                             share = double(x.size()) * double(out);
                loss += d * d / share;
                const double g = 2 * d / share;
                db2[std::size_t(j)] += g;
                for (std::int64_t h = 0; h < hidden; ++h) {
                    dw2[std::size_t(h * out + j)] += g * a[std::size_t(h)];
                    if (a[std::size_t(h)] > 0) dz[std::size_t(h)] += g * w2[std::size_t(h * out + j)];
                }
            }
            for (std::int64_t h = 0; h < hidden; ++h) {
                db1[std::size_t(h)] += dz[std::size_t(h)];
                for (std::int64_t i = 0; i < in; ++i)
                    dw1[std::size_t(i * hidden + h)] += dz[std::size_t(h)] * x[r][std::size_t(i)];
            }
        }
        const auto move = [lr](std::vector<double>& p, const std::vector<double>& g) {
            for (std::size_t i = 0; i < p.size(); ++i) p[i] -= lr * g[i];
        };
        move(w1, dw1), move(b1, db1), move(w2, dw2), move(b2, db2);
        return loss;
    }
};

std::vector<double> numbers(const TestView& array) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < array.size(); ++i) values.push_back(array.get(i));
    return values;
}

// An epoch of batches of 100 over 250 rows, in an order of their own or as they stand.
std::vector<double> run_epoch(
    Element element, int threads, Walk walk, double& loss, bool in_pieces, bool ordered = true
) {
    set_num_threads(threads);
    const std::int64_t in = 7, hidden = 33, out = 2, rows = 250;
    TestView x({rows, in}, element, walk), t({rows, out}, element, walk);
    x.fill(1), t.fill(2);
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < rows; ++i) order.push_back(ordered ? i * 77 % rows : i);
    Layers layers({in, hidden, out}, element);
    PlainNetwork plain{
        in,
        hidden,
        out,
        numbers(layers.weights[0]),
        numbers(layers.biases[0]),
        numbers(layers.weights[1]),
        numbers(layers.biases[1])
    };
    Lesson lesson;
    layers.add_to(lesson.network, element, Activation::relu);
    lesson.x = rows_of(x);
    const View target = t;
    lesson.loss.outputs = out;
    lesson.loss.target = target.data;
    lesson.loss.element = element;
    lesson.loss.row_stride = target.strides[0], lesson.loss.col_stride = target.strides[1];
    Epoch epoch(lesson);
    epoch.rule.lr = 0.05;
    std::vector<std::int64_t> updates(lesson.network.parameter_count());
    for (std::size_t i = 0; i < lesson.network.parameter_count(); ++i) {
        const View& view = lesson.network.parameter(i);
        OptimizedParameter parameter;
        parameter.data = view.data, parameter.size = view.size(), parameter.element = element;
        parameter.steps = &updates[i];
        epoch.parameters.push_back(parameter);
    }
    epoch.order = ordered ? order.data() : nullptr;
    epoch.count = rows, epoch.batch = 100;
    CHECK(lesson.reserve(epoch.batch));
    const std::chrono::steady_clock::duration none = std::chrono::steady_clock::duration::zero();
    int calls = 0;
    for (; epoch.done < epoch.count; ++calls) epoch.run(in_pieces ? &none : nullptr);
    CHECK(calls == (in_pieces ? 3 : 1));
    loss = epoch.loss();
    for (const std::int64_t count : updates) CHECK(count == 3);

    double expected = 0;
    for (std::int64_t start = 0; start < rows; start += 100) {
        std::vector<std::vector<double>> batch, targets;
        for (std::int64_t r = start; r < std::min(rows, start + 100); ++r) {
            batch.emplace_back(), targets.emplace_back();
            for (std::int64_t i = 0; i < in; ++i)
                batch.back().push_back(x.get(order[std::size_t(r)] * in + i));
            for (std::int64_t j = 0; j < out; ++j)
                targets.back().push_back(t.get(order[std::size_t(r)] * out + j));
        }
        expected += plain.step(batch, targets, epoch.rule.lr) * double(batch.size()) / double(rows);
    }
    const double tolerance = element == Element::float64 ? 1e-13 : 2e-6;
    CHECK(std::fabs(loss - expected) < tolerance);
    std::vector<double> trained, wanted;
    for (const TestView* p : {&layers.weights[0], &layers.biases[0], &layers.weights[1], &layers.biases[1]})
        for (const double value : numbers(*p)) trained.push_back(value);
    for (const std::vector<double>* p : {&plain.w1, &plain.b1, &plain.w2, &plain.b2})
        wanted.insert(wanted.end(), p->begin(), p->end());
    double worst = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i)
        worst = std::max(worst, std::fabs(trained[i] - wanted[i]));
    CHECK(worst < tolerance);
    set_num_threads(0);
    return trained;
}

void test_steps() {
    for (const Element element : {Element::float32, Element::float64}) {
        double first_loss = 0;
        run_epoch(element, 1, Walk::c_order, first_loss, false, false);
        const std::vector<double> first = run_epoch(element, 1, Walk::c_order, first_loss, false);
        for (const int threads : {1, 2, 5}) {
            for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards}) {
                double loss = 0;
                CHECK(run_epoch(element, threads, walk, loss, threads == 2) == first && loss == first_loss);
            }
        }
    }
}

// The gradient of the output given, as mlp_backward has it, gives what a loss of that gradient gives.
void test_given_gradient() {
    const std::int64_t in = 5, out = 1, rows = 101;
    TestView x({rows, in}, Element::float64), t({rows, out}, Element::float64),
        dy({rows, out}, Element::float64);
    TestView y({rows, out}, Element::float64), dx({rows, in}, Element::float64);
    x.fill(1), t.fill(2);
    const Layers layers({in, 8, out}, Element::float64);
    Network forward;
    layers.add_to(forward, Element::float64, Activation::tanh);
    CHECK(forward.reserve(rows, {}));
    forward.pack();
    forward.take_x(rows_of(x));
    forward.task().y = y.at(0);
    forward.run(rows);
    for (std::int64_t i = 0; i < rows; ++i) dy.set(i, 2 * (y.get(i) - t.get(i)) / double(rows));

    Network given;
    layers.add_to(given, Element::float64, Activation::tanh);
    CHECK(given.reserve(rows, {true, true, nullptr}));
    given.pack();
    given.take_x(rows_of(x));
    given.task().dy = dy.at(0);
    given.task().dy_row_stride = given.task().dy_col_stride = 8;
    given.task().dx = dx.at(0);
    given.run(rows);

    Lesson lesson;
    layers.add_to(lesson.network, Element::float64, Activation::tanh);
    lesson.x = rows_of(x);
    lesson.loss.outputs = out;
    lesson.loss.target = t.at(0);
    lesson.loss.element = Element::float64;
    lesson.loss.row_stride = lesson.loss.col_stride = 8;
    CHECK(lesson.reserve(rows));
    lesson.run(nullptr, 0, rows);
    double worst = 0;
    for (std::size_t i = 0; i < given.parameter_count(); ++i) {
        const std::int64_t size = given.parameter(i).size();
        std::vector<double> one(static_cast<std::size_t>(size)), other(static_cast<std::size_t>(size));
        given.merge(i, nullptr, one.data());
        lesson.network.merge(i, nullptr, other.data());
        for (std::size_t k = 0; k < one.size(); ++k) worst = std::max(worst, std::fabs(one[k] - other[k]));
    }
    CHECK(worst < 1e-15);
}

// Adam's first step moves every element by lr against the sign of its gradient.
void test_adam() {
    for (const std::int64_t size : {5, 100000}) {
        TestView p({size}, Element::float32), before({size}, Element::float32), g({size}, Element::float32);
        TestView first({size}, Element::float32), second({size}, Element::float32);
        p.fill(1), before.fill(1), g.fill(2);
        std::int64_t steps = 0;
        OptimizerRule rule;
        rule.kind = Optimizer::adam, rule.lr = 0.25, rule.beta1 = 0.9, rule.beta2 = 0.999, rule.eps = 1e-12;
        rule.corrected_eps = true;
        update_parameter(
            rule, {p.at(0), size, Element::float32, g.at(0), true, first.at(0), second.at(0), nullptr, &steps}
        );
        CHECK(steps == 1);
        bool moved = true;
        for (std::int64_t i = 0; i < size; ++i) {
            const double expected = before.get(i) - (g.get(i) > 0 ? 0.25 : -0.25);
            moved = moved && std::fabs(p.get(i) - expected) < 1e-6;
        }
        CHECK(moved);
    }
}

}  // namespace

int main() {
    for (const std::string& target : available_targets()) {
        set_target(target);
        test_memory();
        test_losses();
        test_steps();
        test_given_gradient();
        test_adam();
    }
    return check::report();
}
