#include "plan/linear.h"

namespace fastnorm {

namespace {

// What so many products of x and a weight take one thread.
double products_nanoseconds(const View& x, const View& weight, int products) {
    Product task = {};
    task.depth = weight.shape[0], task.cols = weight.shape[1];
    task.rows = x.size() / std::max<std::int64_t>(task.depth, 1);
    return products * product_nanoseconds(task, x.element);
}

}  // namespace

double linear_nanoseconds(const Layer& layer) { return products_nanoseconds(layer.x, layer.weight, 1); }

// dx and dweight, and z again where there is an activation.
double linear_backward_nanoseconds(const Layer& layer) {
    return products_nanoseconds(layer.x, layer.weight, layer.activation == Activation::none ? 2 : 3);
}

double gated_linear_nanoseconds(const GatedLayer& layer) {
    return products_nanoseconds(layer.x, layer.w_gate, 2);
}

// u, and z of the gate twice; two products for dx and two for the weights.
double gated_linear_backward_nanoseconds(const GatedLayer& layer) {
    return products_nanoseconds(layer.x, layer.w_gate, 7);
}

bool run_linear(const Layer& layer, const View& y) noexcept {
    const Element element = layer.x.element;
    const MatrixView x(layer.x, element), weight(layer.weight, element), result(y, element);
    Product task = layer_product(x.matrix(), weight.matrix(), layer.bias, result.matrix());
    task.activation = layer.activation;
    return run_product(task, element);
}

bool run_linear_backward(const Layer& layer, const View& dy, const LayerGradients& gradients) noexcept {
    const Element element = layer.x.element;
    const MatrixView slopes(dy, element), x(layer.x, element), weight(layer.weight, element);
    const MatrixView dx(gradients.dx, element), dweight(gradients.dweight, element);
    const bool is_linear = layer.activation == Activation::none;
    const MatrixBuffer dz_buffer(is_linear ? 0 : x.rows(), weight.cols(), element);
    if (!dz_buffer) return false;
    if (!is_linear) {
        Product task = layer_product(x.matrix(), weight.matrix(), layer.bias, dz_buffer.matrix());
        task.activation = layer.activation;
        task.finish = Finish::gradient;
        task.other = slopes.matrix();
        if (!run_product(task, element)) return false;
    }
    const Matrix& dz = is_linear ? slopes.matrix() : dz_buffer.matrix();
    return run_product(layer_product(dz, transposed(weight.matrix()), nullptr, dx.matrix()), element) &&
           run_weight_gradients(x.matrix(), dz, element, dweight.matrix(), gradients.dbias);
}

bool run_gated_linear(const GatedLayer& layer, const View& y) noexcept {
    const Element element = layer.x.element;
    const MatrixView x(layer.x, element), w_gate(layer.w_gate, element), w_up(layer.w_up, element);
    const MatrixView result(y, element);
    const MatrixBuffer gates(x.rows(), w_gate.cols(), element);
    if (!gates) return false;
    Product task = layer_product(x.matrix(), w_gate.matrix(), layer.b_gate, gates.matrix());
    task.activation = layer.gate, task.beta = layer.beta;
    if (!run_product(task, element)) return false;
    task = layer_product(x.matrix(), w_up.matrix(), layer.b_up, result.matrix());
    task.finish = Finish::multiply;
    task.other = gates.matrix();
    return run_product(task, element);
}

// With g = x w_gate + b_gate and u = x w_up + b_up: dg = dy u gate'(g), du = dy gate(g), and the gradients of
// two layers.
bool run_gated_linear_backward(
    const GatedLayer& layer, const View& dy, const GatedGradients& gradients
) noexcept {
    const Element element = layer.x.element;
    const MatrixView x(layer.x, element), w_gate(layer.w_gate, element), w_up(layer.w_up, element);
    const MatrixView slopes(dy, element), dx(gradients.dx, element);
    const MatrixView dw_gate(gradients.dw_gate, element), dw_up(gradients.dw_up, element);
    const MatrixBuffer scaled(x.rows(), w_gate.cols(), element), dg(x.rows(), w_gate.cols(), element);
    const MatrixBuffer du(x.rows(), w_gate.cols(), element), dx_of_gate(x.rows(), x.cols(), element);
    if (!scaled || !dg || !du || !dx_of_gate) return false;

    Product task = layer_product(x.matrix(), w_up.matrix(), layer.b_up, scaled.matrix());
    task.finish = Finish::multiply;
    task.other = slopes.matrix();
    if (!run_product(task, element)) return false;
    task = layer_product(x.matrix(), w_gate.matrix(), layer.b_gate, du.matrix());
    task.activation = layer.gate, task.beta = layer.beta;
    task.finish = Finish::multiply;
    task.other = slopes.matrix();
    if (!run_product(task, element)) return false;
    task.c = dg.matrix();
    task.finish = Finish::gradient;
    task.other = scaled.matrix();
    if (!run_product(task, element)) return false;

    task = layer_product(dg.matrix(), transposed(w_gate.matrix()), nullptr, dx_of_gate.matrix());
    if (!run_product(task, element)) return false;
    task = layer_product(du.matrix(), transposed(w_up.matrix()), nullptr, dx.matrix());
    task.finish = Finish::add;
    task.other = dx_of_gate.matrix();
    return run_product(task, element) &&
           run_weight_gradients(x.matrix(), dg.matrix(), element, dw_gate.matrix(), gradients.db_gate) &&
           run_weight_gradients(x.matrix(), du.matrix(), element, dw_up.matrix(), gradients.db_up);
}

}  // namespace fastnorm
