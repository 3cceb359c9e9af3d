// Arrays as matrices, and dense layers as products, against plain loops.
#include "check.h"
#include "plan/linear.h"
#include "plan/linear_cross_entropy.h"
#include "plan/packed_weight.h"
#include "runtime/dispatch.h"
#include "views.h"

#include <cmath>

namespace {

bool is_near(double a, double b, double tolerance) {
    return std::fabs(a - b) <= tolerance * (1 + std::fabs(b));
}

// Where a matrix has the element of a row and a column.
const char* address(const Matrix& matrix, std::int64_t row, std::int64_t col) {
    const char* at = matrix.data;
    for (int i = matrix.rows.count; i-- > 0; row /= matrix.rows.extent[i])
        at += row % matrix.rows.extent[i] * matrix.rows.stride[i];
    for (int i = matrix.cols.count; i-- > 0; col /= matrix.cols.extent[i])
        at += col % matrix.cols.extent[i] * matrix.cols.stride[i];
    return at;
}

void test_matrices() {
    const std::vector<std::ptrdiff_t> shapes[] = {{7}, {3, 5}, {2, 3, 5}, {2, 3, 1, 5}, {0, 4}};
    for (const auto& shape : shapes) {
        for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards}) {
            for (const Element element : {Element::float32, Element::float64}) {
                const TestView array(shape, element, walk);
                const MatrixView view(array, Element::float64);
                const std::int64_t cols = shape.back();
                CHECK(view.cols() == cols && view.rows() * cols == array.size());
                CHECK(view.matrix().wide == (element == Element::float64) && view.matrix().aligned);
                bool same = true;
                for (std::int64_t i = 0; i < array.size(); ++i)
                    same = same && address(view.matrix(), i / cols, i % cols) == array.at(i);
                CHECK(same);
            }
        }
    }
    const TestView straight({3, 5}, Element::float32);
    View crooked = straight;
    crooked.data += 2;
    CHECK(!MatrixView(crooked, Element::float32).matrix().aligned);
}

double relu(double z) { return z > 0 ? z : 0; }
double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// y = relu(x w + b) and its gradients, x with two leading axes in any order of memory.
void test_linear(Element element, Walk walk, int threads) {
    set_num_threads(threads);
    const std::int64_t rows = 6, in = 33, out = 17;
    const double tolerance = element == Element::float64 ? 1e-13 : 1e-5;
    TestView x({2, 3, in}, element, walk), w({in, out}, element, walk), b({out}, element);
    TestView y({2, 3, out}, element, walk), dy({2, 3, out}, element);
    TestView dx({2, 3, in}, element), dw({in, out}, element), db({out}, element);
    x.fill(1), w.fill(2), b.fill(3), dy.fill(4);
    const Element e = element;
    const Layer layer{e, {x, e}, {w, e}, b.at(0), Activation::relu};
    CHECK(run_linear(layer, {y, e}));
    CHECK(run_linear_backward(layer, {dy, e}, {{dx, e}, {dw, e}, db.at(0)}));
    CHECK(linear_backward_nanoseconds(layer) == 3 * linear_nanoseconds(layer));

    std::vector<double> dz(std::size_t(rows * out));
    bool same = true;
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < out; ++j) {
            double z = b.get(j);
            for (std::int64_t k = 0; k < in; ++k) z += x.get(r * in + k) * w.get(k * out + j);
            same = same && is_near(y.get(r * out + j), relu(z), tolerance);
            dz[std::size_t(r * out + j)] = z > 0 ? dy.get(r * out + j) : 0;
        }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < in; ++k) {
            double sum = 0;
            for (std::int64_t j = 0; j < out; ++j) sum += dz[std::size_t(r * out + j)] * w.get(k * out + j);
            same = same && is_near(dx.get(r * in + k), sum, tolerance);
        }
    }
    for (std::int64_t j = 0; j < out; ++j) {
        double bias = 0;
        for (std::int64_t r = 0; r < rows; ++r) bias += dz[std::size_t(r * out + j)];
        same = same && is_near(db.get(j), bias, tolerance);
        for (std::int64_t k = 0; k < in; ++k) {
            double sum = 0;
            for (std::int64_t r = 0; r < rows; ++r) sum += dz[std::size_t(r * out + j)] * x.get(r * in + k);
            same = same && is_near(dw.get(k * out + j), sum, tolerance);
        }
    }
    CHECK(same);
    set_num_threads(0);
}

// y = sigmoid(x wg + bg) (x wu), and a few of its gradients by their formula.
void test_gated_linear() {
    const std::int64_t rows = 9, in = 20, out = 5;
    TestView x({rows, in}, Element::float64), wg({in, out}, Element::float64),
        wu({in, out}, Element::float64);
    TestView bg({out}, Element::float64), y({rows, out}, Element::float64), dy({rows, out}, Element::float64);
    TestView dx({rows, in}, Element::float64), dwg({in, out}, Element::float64),
        dwu({in, out}, Element::float64);
    TestView dbg({out}, Element::float64);
    x.fill(1), wg.fill(2), wu.fill(3), bg.fill(4), dy.fill(5);
    constexpr Element e = Element::float64;
    const GatedLayer layer{e, {x, e}, {wg, e}, {wu, e}, bg.at(0), nullptr, Activation::sigmoid, 1};
    CHECK(run_gated_linear(layer, {y, e}));
    CHECK(run_gated_linear_backward(layer, {dy, e}, {{dx, e}, {dwg, e}, {dwu, e}, dbg.at(0), nullptr}));
    std::vector<double> bias(std::size_t(out), 0), up(std::size_t(in * out), 0),
        input(std::size_t(rows * in), 0);
    bool same = true;
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < out; ++j) {
            double g = bg.get(j), u = 0;
            for (std::int64_t k = 0; k < in; ++k) {
                g += x.get(r * in + k) * wg.get(k * out + j);
                u += x.get(r * in + k) * wu.get(k * out + j);
            }
            const double s = sigmoid(g), dg = dy.get(r * out + j) * u * s * (1 - s),
                         du = dy.get(r * out + j) * s;
            same = same && is_near(y.get(r * out + j), s * u, 1e-13);
            bias[std::size_t(j)] += dg;
            for (std::int64_t k = 0; k < in; ++k) {
                up[std::size_t(k * out + j)] += du * x.get(r * in + k);
                input[std::size_t(r * in + k)] += dg * wg.get(k * out + j) + du * wu.get(k * out + j);
            }
        }
    }
    for (std::int64_t j = 0; j < out; ++j) same = same && is_near(dbg.get(j), bias[std::size_t(j)], 1e-12);
    for (std::int64_t i = 0; i < in * out; ++i) same = same && is_near(dwu.get(i), up[std::size_t(i)], 1e-12);
    for (std::int64_t i = 0; i < rows * in; ++i)
        same = same && is_near(dx.get(i), input[std::size_t(i)], 1e-12);
    CHECK(same);
}

// From any layout into panels and back, and products from panels, which are those from the weight itself.
void test_packed_weights(Element element, Walk walk) {
    const std::ptrdiff_t shapes[][2] = {{1, 1},    {7, 16},    {255, 15}, {256, 64},
                                        {300, 65}, {513, 130}, {0, 3},    {3, 0}};
    for (const auto& shape : shapes) {
        const std::int64_t in = shape[0], out = shape[1], rows = 9;
        TestView x({rows, in}, element), w({in, out}, element, walk), y({rows, out}, element),
            z({rows, out}, element), back({in, out}, element, walk);
        x.fill(1), w.fill(2), y.fill(3), z.fill(4), back.fill(5);
        PackedWeight packed;
        CHECK(packed.reserve(element, in, out) && packed.bytes() >= w.size() * item_size(element));
        const View weight = w, target = back;
        CHECK(packed.pack(weight.data, weight.strides[0], weight.strides[1]) && packed.is_current());
        CHECK(packed.unpack(target.data, target.strides[0], target.strides[1]));
        bool same = true;
        for (std::int64_t i = 0; i < w.size(); ++i) same = same && w.get(i) == back.get(i);
        const std::ptrdiff_t none[] = {0, 0};
        const View panels = {
            static_cast<char*>(packed.panels()), element, 2, packed.shape(), none, false, true
        };
        CHECK(run_linear({element, {x, element}, {w, element}, nullptr, Activation::none}, {y, element}));
        CHECK(
            run_linear({element, {x, element}, {panels, element}, nullptr, Activation::none}, {z, element})
        );
        for (std::int64_t i = 0; i < y.size(); ++i) same = same && y.get(i) == z.get(i);
        CHECK(same);
    }
}

// Losses of rows against a layer's outputs and their gradients: `classes` in one buffer, in some, or with the
// first rows in dweight.
void test_classifier(std::int64_t rows, std::int64_t in, std::int64_t classes, Walk walk, int threads) {
    set_num_threads(threads);
    constexpr Element e = Element::float64;
    TestView x({rows, in}, e, walk), w({in, classes}, e, walk), b({classes}, e), dloss({rows}, e);
    TestView dx({rows, in}, e, walk), dw({in, classes}, e), db({classes}, e);
    x.fill(1), w.fill(2), b.fill(3), dloss.fill(4);
    std::vector<std::int64_t> labels;
    for (std::int64_t r = 0; r < rows; ++r) labels.push_back(r % 5 == 3 ? -1 : r * 7 % classes);
    std::vector<double> losses(std::size_t(rows), -1), again(std::size_t(rows), -1);
    ClassifierLoss loss{e, {x, e}, {w, e}, b.at(0), labels.data(), 0, losses.data(), dloss.at(0), 0.5};
    CHECK(run_classifier_gradients(loss, {{dx, e}, {dw, e}, db.at(0)}));
    loss.losses = again.data();
    CHECK(run_classifier_loss(loss));
    CHECK(losses == again);

    std::vector<double> z(std::size_t(classes), 0), dw_exact(std::size_t(in * classes)), db_exact(z.size());
    bool same = true;
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t t = labels[std::size_t(r)];
        if (t < 0) same = same && losses[std::size_t(r)] == 0;
        double sum = 0;
        for (std::int64_t j = 0; j < classes; ++j) {
            double& value = z[std::size_t(j)] = b.get(j);
            for (std::int64_t k = 0; k < in; ++k) value += x.get(r * in + k) * w.get(k * classes + j);
            sum += std::exp(value);
        }
        if (t >= 0) same = same && is_near(losses[std::size_t(r)], std::log(sum) - z[std::size_t(t)], 1e-13);
        std::vector<double> dx_exact(std::size_t(in), 0);
        for (std::int64_t j = 0; j < classes && t >= 0; ++j) {
            const double p = std::exp(z[std::size_t(j)]) / sum, dz = 0.5 * dloss.get(r) * (p - (j == t));
            db_exact[std::size_t(j)] += dz;
            for (std::int64_t k = 0; k < in; ++k) {
                dx_exact[std::size_t(k)] += dz * w.get(k * classes + j);
                dw_exact[std::size_t(k * classes + j)] += dz * x.get(r * in + k);
            }
        }
        for (std::int64_t k = 0; k < in; ++k)
            same = same && is_near(dx.get(r * in + k), dx_exact[std::size_t(k)], 1e-13);
    }
    for (std::int64_t j = 0; j < classes; ++j)
        same = same && is_near(db.get(j), db_exact[std::size_t(j)], 1e-13);
    for (std::int64_t i = 0; i < in * classes; ++i)
        same = same && is_near(dw.get(i), dw_exact[std::size_t(i)], 1e-13);
    CHECK(same);
    set_num_threads(0);
}

}  // namespace

int main() {
    for (const std::string& target : available_targets()) {
        set_target(target);
        test_matrices();
        for (const Element element : {Element::float32, Element::float64}) {
            for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards}) {
                test_linear(element, walk, 1);
                test_linear(element, walk, 2);
                test_packed_weights(element, walk);
            }
        }
        test_gated_linear();
        for (const Walk walk : {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards})
            test_classifier(9, 20, 37, walk, 1);
        test_classifier(70, 3, 33000, Walk::c_order, 2);
        test_classifier(50, 40, 33000, Walk::c_order, 1);
        test_classifier(36, 40, 33000, Walk::reversed_axes, 2);
    }
    return check::report();
}
