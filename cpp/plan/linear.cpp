#include "plan/linear.h"

namespace fastnorm {

namespace {

// What so many products of x and a weight take one thread.
double products_nanoseconds(const MatrixView& x, const MatrixView& weight, Element element, int products) {
    Product task = {};
    task.rows = x.rows(), task.depth = weight.rows(), task.cols = weight.cols();
    return products * product_nanoseconds(task, element);
}

}  // namespace

double linear_nanoseconds(const Layer& layer) {
    return products_nanoseconds(layer.x, layer.weight, layer.element, 1);
}

// dx and dweight, and z again where there is an activation.
double linear_backward_nanoseconds(const Layer& layer) {
    return products_nanoseconds(
        layer.x, layer.weight, layer.element, layer.activation == Activation::none ? 2 : 3
    );
}

double gated_linear_nanoseconds(const GatedLayer& layer) {
    return products_nanoseconds(layer.x, layer.w_gate, layer.element, 2);
}

// u, and z of the gate twice; two products for dx and two for the weights.
double gated_linear_backward_nanoseconds(const GatedLayer& layer) {
    return products_nanoseconds(layer.x, layer.w_gate, layer.element, 7);
}

bool run_linear(const Layer& layer, const MatrixView& y) noexcept {
    Product task = layer_product(layer.x.matrix(), layer.weight.matrix(), layer.bias, y.matrix());
    task.activation = layer.activation;
    return run_product(task, layer.element);
}

bool run_linear_backward(const Layer& layer, const MatrixView& dy, const LayerGradients& gradients) noexcept {
    const Element element = layer.element;
    const MatrixView &x = layer.x, &weight = layer.weight;
    const bool is_linear = layer.activation == Activation::none;
    const MatrixBuffer dz_buffer(is_linear ? 0 : x.rows(), weight.cols(), element);
    if (!dz_buffer) return false;
    if (!is_linear) {
        Product task = layer_product(x.matrix(), weight.matrix(), layer.bias, dz_buffer.matrix());
        task.activation = layer.activation;
        task.finish = Finish::gradient;
        task.other = dy.matrix();
        if (!run_product(task, element)) return false;
    }
    const Matrix& dz = is_linear ? dy.matrix() : dz_buffer.matrix();
    return run_product(
               layer_product(dz, transposed(weight.matrix()), nullptr, gradients.dx.matrix()), element
           ) &&
           run_weight_gradients(x.matrix(), dz, element, gradients.dweight.matrix(), gradients.dbias);
}

bool run_gated_linear(const GatedLayer& layer, const MatrixView& y) noexcept {
    const Element element = layer.element;
    const MatrixView &x = layer.x, &w_gate = layer.w_gate, &w_up = layer.w_up;
    const MatrixBuffer gates(x.rows(), w_gate.cols(), element);
    if (!gates) return false;
    Product task = layer_product(x.matrix(), w_gate.matrix(), layer.b_gate, gates.matrix());
    task.activation = layer.gate, task.beta = layer.beta;
    if (!run_product(task, element)) return false;
    task = layer_product(x.matrix(), w_up.matrix(), layer.b_up, y.matrix());
    task.finish = Finish::multiply;
    task.other = gates.matrix();
    return run_product(task, element);
}

// With g = x w_gate + b_gate and u = x w_up + b_up: dg = dy u gate'(g), du = dy gate(g), and the gradients of
// two layers.
bool run_gated_linear_backward(
    const GatedLayer& layer, const MatrixView& dy, const GatedGradients& gradients
) noexcept {
    const Element element = layer.element;
    const MatrixView &x = layer.x, &w_gate = layer.w_gate, &w_up = layer.w_up;
    const MatrixBuffer scaled(x.rows(), w_gate.cols(), element), dg(x.rows(), w_gate.cols(), element);
    const MatrixBuffer du(x.rows(), w_gate.cols(), element), dx_of_gate(x.rows(), x.cols(), element);
    if (!scaled || !dg || !du || !dx_of_gate) return false;

    Product task = layer_product(x.matrix(), w_up.matrix(), layer.b_up, scaled.matrix());
    task.finish = Finish::multiply;
    task.other = dy.matrix();
    if (!run_product(task, element)) return false;
    task = layer_product(x.matrix(), w_gate.matrix(), layer.b_gate, du.matrix());
    task.activation = layer.gate, task.beta = layer.beta;
    task.finish = Finish::multiply;
    task.other = dy.matrix();
    if (!run_product(task, element)) return false;
    task.c = dg.matrix();
    task.finish = Finish::gradient;
    task.other = scaled.matrix();
    if (!run_product(task, element)) return false;

    task = layer_product(dg.matrix(), transposed(w_gate.matrix()), nullptr, dx_of_gate.matrix());
    if (!run_product(task, element)) return false;
    task = layer_product(du.matrix(), transposed(w_up.matrix()), nullptr, gradients.dx.matrix());
    task.finish = Finish::add;
    task.other = dx_of_gate.matrix();
    return run_product(task, element) &&
           run_weight_gradients(
               x.matrix(), dg.matrix(), element, gradients.dw_gate.matrix(), gradients.db_gate
           ) &&
           run_weight_gradients(x.matrix(), du.matrix(), element, gradients.dw_up.matrix(), gradients.db_up);
}

}  // namespace fastnorm
