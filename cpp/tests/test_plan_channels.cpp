// Arrays as (outer, channels, inner) values, and the steps of the channel norms against plain loops: in all
// steps at once for groups of channels or step by step, whatever the threads, with the same bits.
#include "check.h"
#include "plan/channel_norms.h"
#include "runtime/dispatch.h"
#include "views.h"

#include <cmath>

namespace {

void test_sizes() {
    const TestView image({4, 6, 5, 7}, Element::float32), rows({100, 6}, Element::float32);
    const Channels planes = channels_of(image, 1, 2);
    CHECK(planes.outer == 4 && planes.channels == 6 && planes.inner == 35 && planes.planes);
    CHECK(planes.count() == 140 && planes.block_outer == 1 && planes.blocks() == 4);
    const Channels columns = channels_of(rows, 1, 2);
    CHECK(columns.outer == 100 && columns.channels == 6 && columns.inner == 1 && !columns.planes);
    CHECK(columns.block_outer == rows_per_block(100) && columns.columns() == 6);
    // Blocks follow from the shape alone, at most 128 of them.
    const TestView many({1000, 2, 16}, Element::float32);
    CHECK(channels_of(many, 1, 2).blocks() <= 128);

    const Channels groups = groups_of(image, 1, 3);
    CHECK(groups.outer == 2 && groups.channels == 12 && groups.inner == 35 && groups.planes);
    CHECK(groups.weight_period == 3 && groups.weight_step == 2 && groups.weight_outer_step == 1);
    CHECK(groups_of(TestView({6, 8}, Element::float32), 0, 2).channels == 2);

    CHECK(forward_numbers(planes) == 18 && backward_numbers(planes) == 30);
    CHECK(forward_numbers(columns) == 18 + 18 && backward_numbers(columns) == 30 + 24);
    for (const Channels& size : {planes, columns}) {
        Numbers numbers(backward_numbers(size));
        ChannelBackward task = {};
        task.forward.size = size;
        place_numbers(task, numbers);
        double* const end = numbers.take(0);
        CHECK(end - task.forward.mean == backward_numbers(size));
        CHECK((task.coefficients != nullptr) == !size.planes);
    }
}

struct Norm {
    std::vector<double> y, dx, dweight;
};

// batch_norm of x with a weight, from x's own statistics, and its gradient for dy = x * x.
Norm run_norm(const TestView& x, const TestView& dy, const TestView& weight, int axis, Element element) {
    const View view = x;
    TestView y(std::vector<std::ptrdiff_t>(view.shape, view.shape + view.ndim), element);
    TestView dx(std::vector<std::ptrdiff_t>(view.shape, view.shape + view.ndim), element);
    TestView dweight({view.shape[axis]}, element);
    const Channels size = channels_of(x, axis, axis + 1);
    ChannelNormForward forward(size, axis, x, y, false);
    forward.task.weight = weight.at(0);
    forward.task.eps = 1e-3;
    CHECK(bool(forward) && forward.run());
    ChannelNormBackward backward(size, axis, dy, x, dx, dweight.at(0), nullptr, true, false);
    backward.task.forward.weight = weight.at(0);
    backward.task.forward.eps = 1e-3;
    CHECK(bool(backward) && backward.run());
    CHECK(backward.nanoseconds() > forward.nanoseconds());
    Norm norm;
    for (std::int64_t i = 0; i < x.size(); ++i) norm.y.push_back(y.get(i)), norm.dx.push_back(dx.get(i));
    for (std::int64_t c = 0; c < dweight.size(); ++c) norm.dweight.push_back(dweight.get(c));
    return norm;
}

// The same in plain loops; channel_of tells the channel of an element's number in C order.
template <class ChannelOf>
Norm plain_norm(
    const TestView& x, const TestView& dy, const TestView& weight, std::int64_t channels, ChannelOf channel_of
) {
    Norm norm;
    norm.y.resize(std::size_t(x.size())), norm.dx = norm.y;
    for (std::int64_t c = 0; c < channels; ++c) {
        double count = 0, mean = 0, var = 0, sum = 0, product = 0;
        const auto each = [&](auto body) {
            for (std::int64_t i = 0; i < x.size(); ++i) {
                if (channel_of(i) == c) body(i);
            }
        };
        each([&](std::int64_t i) { mean += x.get(i), ++count; });
        mean /= count;
        each([&](std::int64_t i) { var += (x.get(i) - mean) * (x.get(i) - mean) / count; });
        const double rstd = 1 / std::sqrt(var + 1e-3);
        each([&](std::int64_t i) {
            const double xhat = (x.get(i) - mean) * rstd;
            norm.y[std::size_t(i)] = xhat * weight.get(c);
            sum += dy.get(i), product += dy.get(i) * xhat;
        });
        norm.dweight.push_back(product);
        each([&](std::int64_t i) {
            const double xhat = (x.get(i) - mean) * rstd;
            norm.dx[std::size_t(i)] =
                weight.get(c) * rstd * (dy.get(i) - sum / count - xhat * product / count);
        });
    }
    return norm;
}

bool are_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
    bool near = a.size() == b.size();
    for (std::size_t i = 0; near && i < a.size(); ++i)
        near = std::fabs(a[i] - b[i]) <= tolerance * (1 + std::fabs(b[i]));
    return near;
}

void test_norms() {
    const std::vector<std::ptrdiff_t> shapes[] = {{3, 40, 5, 7}, {200, 6, 1, 1}, {2, 5, 3, 2}};
    for (const Element element : {Element::float32, Element::float64}) {
        for (const auto& shape : shapes) {
            const std::int64_t channels = shape[1], inner = shape[2] * shape[3];
            TestView weight({shape[1]}, element);
            weight.fill(2);
            Norm first;
            for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::backwards}) {
                TestView x(shape, element, walk), dy(shape, element, walk);
                x.fill(1), dy.fill(3);
                for (const int threads : {1, 3}) {
                    set_num_threads(threads);
                    const Norm norm = run_norm(x, dy, weight, 1, element);
                    if (first.y.empty()) {
                        first = norm;
                        const Norm plain = plain_norm(x, dy, weight, channels, [&](std::int64_t i) {
                            return i / inner % channels;
                        });
                        const double tolerance = element == Element::float64 ? 1e-11 : 1e-4;
                        CHECK(are_near(norm.y, plain.y, tolerance) && are_near(norm.dx, plain.dx, tolerance));
                        CHECK(are_near(norm.dweight, plain.dweight, tolerance));
                    }
                    CHECK(norm.y == first.y && norm.dx == first.dx && norm.dweight == first.dweight);
                }
            }
        }
    }
    set_num_threads(0);
}

// Given statistics stand in place of x's own; an array without elements has NaN for its own.
void test_given_statistics() {
    TestView x({2, 3, 20}, Element::float32), y({2, 3, 20}, Element::float32), rstd({3}, Element::float32);
    TestView mean({3}, Element::float64, Walk::backwards);
    x.fill(1), mean.fill(2), rstd.fill(3);
    ChannelNormForward plan(channels_of(x, 1, 2), 1, x, y, false);
    plan.use({mean, rstd, false});
    CHECK(plan.run());
    bool near = true;
    for (std::int64_t i = 0; i < x.size(); ++i) {
        const std::int64_t c = i / 20 % 3;
        near = near && std::fabs(y.get(i) - (x.get(i) - mean.get(c)) * rstd.get(c)) < 1e-6;
    }
    CHECK(near);
    const TestView empty({0, 3, 20}, Element::float32);
    ChannelNormForward none(channels_of(empty, 1, 2), 1, empty, empty, false);
    CHECK(none.run() && std::isnan(none.task.mean[2]) && std::isnan(none.task.rstd[0]));
    TestView dweight({3}, Element::float32);
    dweight.fill(1);
    ChannelNormBackward back(
        channels_of(empty, 1, 2), 1, empty, empty, empty, dweight.at(0), nullptr, true, false
    );
    CHECK(back.run() && dweight.get(0) == 0 && dweight.get(2) == 0);
}

void test_moments() {
    TestView x({4, 3, 5}, Element::float32, Walk::spread);
    x.fill(1);
    double mean[3], m2[3];
    CHECK(run_moments(x, 1, 2, mean, m2));
    for (std::int64_t c = 0; c < 3; ++c) {
        double sum = 0, squares = 0;
        for (std::int64_t i = 0; i < 60; ++i) sum += i / 5 % 3 == c ? x.get(i) : 0;
        for (std::int64_t i = 0; i < 60; ++i)
            squares += i / 5 % 3 == c ? std::pow(x.get(i) - sum / 20, 2) : 0;
        CHECK(std::fabs(mean[c] - sum / 20) < 1e-12 && std::fabs(m2[c] - squares) < 1e-12);
    }
    CHECK(run_moments(TestView({0, 3}, Element::float32), 1, 2, mean, m2) && mean[1] == 0 && m2[1] == 0);
}

// Shares lie by (place in the group, sample, group).
void test_sum_samples() {
    const TestView x({2, 6, 20}, Element::float32);
    const Channels size = groups_of(x, 1, 3);
    double shares[12], sums[6];
    for (int i = 0; i < 12; ++i) shares[i] = 1 << i;
    sum_samples(size, shares, Element::float64, sums);
    for (int channel = 0; channel < 6; ++channel) {
        const int place = channel % 2, group = channel / 2;
        CHECK(sums[channel] == shares[(place * 2 + 0) * 3 + group] + shares[(place * 2 + 1) * 3 + group]);
    }
}

}  // namespace

int main() {
    for (const std::string& target : available_targets()) {
        set_target(target);
        test_sizes();
        test_norms();
        test_sum_samples();
        test_given_statistics();
        test_moments();
    }
    return check::report();
}
