#include <cmath>

#include "bindings/elementwise.h"
#include "bindings/families.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

using ElementwiseKernels = Kernels<Elementwise>;

// out = f(x), where `task` holds what f needs besides.
template <class Task>
Outcome map(const Kernels<Task>& table, Slot x_slot, const Out& out, const Task& task = {}) {
    const MaybeArray x = as_array(x_slot);
    if (!x) return not_canonical;
    Result y = result_like(*x, out, {x_slot});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    const View arrays[] = {*x, y.array};
    if (!run_elementwise(table, task, arrays, 1, 1, y.warm, activation_cost.forward))
        return finished(nullptr);
    return finished(y.object.release());
}

// dx = dy * f'(x).
template <class Task>
Outcome map_backward(const Kernels<Task>& table, Slot dy_slot, Slot x_slot, const Task& task = {}) {
    const MaybeArray dy = as_array(dy_slot), x = as_array(x_slot);
    if (!dy || !x || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    NewArray fresh = new_like(*x);
    Reference dx = std::move(fresh.array);
    if (!dx) return finished(nullptr);
    const Array written(dx.array(), x->element);
    const View arrays[] = {*dy, *x, written};
    if (!run_elementwise(table, task, arrays, 2, 1, fresh.warm, activation_cost.backward))
        return finished(nullptr);
    return finished(dx.release());
}

struct GeluKernels {
    const ElementwiseKernels& forward;
    const ElementwiseKernels& backward;
};

// The kernels of a form of gelu by its name.
std::optional<GeluKernels> gelu_kernels(PyObject* approximate) {
    if (!PyUnicode_CheckExact(approximate)) return std::nullopt;
    const KernelTable& all = kernels();
    if (PyUnicode_CompareWithASCIIString(approximate, "none") == 0)
        return GeluKernels{all.gelu_forward, all.gelu_backward};
    if (PyUnicode_CompareWithASCIIString(approximate, "tanh") == 0) {
        return GeluKernels{all.gelu_tanh_forward, all.gelu_tanh_backward};
    }
    if (PyUnicode_CompareWithASCIIString(approximate, "sigmoid") == 0) {
        return GeluKernels{all.gelu_sigmoid_forward, all.gelu_sigmoid_backward};
    }
    return std::nullopt;
}

// beta of swish, of the compute type: an array that broadcasts to x, or a number, which is kept here.
class Beta {
public:
    Beta(PyObject* slot, const Array& x) {
        const Element compute = compute_element(x.element);
        if (PyFloat_CheckExact(slot)) {
            wide_ = PyFloat_AS_DOUBLE(slot);
            narrow_ = float(wide_);
            void* const number =
                compute == Element::float64 ? static_cast<void*>(&wide_) : static_cast<void*>(&narrow_);
            view_ = {static_cast<char*>(number), compute, 0, nullptr, nullptr, true};
            canonical_ = true;
            return;
        }
        const MaybeArray beta = as_array(slot);
        if (!beta || beta->element != compute || !broadcasts_to(*beta, x)) return;
        array_ = *beta;
        view_ = array_;
        canonical_ = true;
    }
    Beta(const Beta&) = delete;
    Beta& operator=(const Beta&) = delete;

    bool canonical() const { return canonical_; }
    const View& view() const { return view_; }
    // A new array of the same shape, in recycled memory where it is large.
    Reference new_gradient() const {
        if (array_.object && array_.is_c_contiguous()) return std::move(new_like(array_).array);
        return new_array(view_.ndim, view_.shape, compute_type_number(view_.element));
    }
    PyObject* array_or_none() const {
        return array_.object ? reinterpret_cast<PyObject*>(array_.object) : Py_None;
    }

private:
    double wide_ = 0;
    float narrow_ = 0;
    Array array_;  // where it is one
    View view_;
    bool canonical_ = false;
};

struct SwishArguments {
    FASTNORM_ARGUMENTS(x, beta, out)
};

Outcome swish(const Call<SwishArguments>& call) {
    const MaybeArray x = as_array(call.x);
    if (!x) return not_canonical;
    if (PyFloat_CheckExact(call.beta) && PyFloat_AS_DOUBLE(call.beta) == 1) {
        return map(kernels().silu_forward, call.x, out_of(call));
    }
    const Beta beta(call.beta, *x);
    if (!beta.canonical()) return not_canonical;
    Result y = result_like(*x, out_of(call), {call.x, beta.array_or_none()});
    if (!y.canonical) return not_canonical;
    if (!y.object) return finished(nullptr);
    npy_intp strides[NPY_MAXDIMS];
    Geometry geometry;
    SwishForward task;
    const Work work = plan_swish(task, geometry, *x, broadcast(beta.view(), *x, strides), y.array);
    if (!run_kernel(kernels().swish_forward[int(x->element)], task, work)) return finished(nullptr);
    return finished(y.object.release());
}

struct SwishBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, beta)
};

Outcome swish_backward(const Call<SwishBackwardArguments>& call) {
    MaybeArray x = as_array(call.x);
    if (!x) return not_canonical;
    const Beta beta(call.beta, *x);
    if (!beta.canonical()) return not_canonical;
    const MaybeArray dy = as_array(call.dy);
    if (!dy || dy->element != x->element || !same_shape(*dy, *x)) return not_canonical;
    const Element compute = compute_element(x->element);
    const Reference dx = std::move(new_like(*x).array);
    const Reference dbeta = beta.new_gradient();
    if (!dx || !dbeta) return finished(nullptr);

    Geometry geometry;
    SwishBackward task;
    const Array written(dx.array(), x->element), sums(dbeta.array(), compute);
    const SwishPlan plan = plan_swish_backward(task, geometry, *dy, *x, written, beta.view(), sums);
    const Buffer shares(std::size_t(plan.shares()) * sizeof(double));
    if (!shares) return finished(PyErr_NoMemory());
    const bool has_sums = plan.shares_per_group > 0 || plan.work.units == 0;
    task.shares = has_sums ? static_cast<double*>(shares.data()) : nullptr;
    const KernelTable& all = kernels();
    const auto& table = plan.by_columns ? all.swish_backward_columns : all.swish_backward_rows;
    if (!run_planned(plan.work.nanoseconds + double(plan.shares()), [&] {
            if (!run(table[int(x->element)], task, plan.work)) return false;
            if (has_sums) sum_shares(task.shares, plan, compute, PyArray_DATA(dbeta.array()));
            return true;
        })) {
        return finished(nullptr);
    }
    return finished(PyTuple_Pack(2, dx.get(), dbeta.get()));
}

struct GeluArguments {
    FASTNORM_ARGUMENTS(x, approximate, out)
};

Outcome gelu(const Call<GeluArguments>& call) {
    const std::optional<GeluKernels> form = gelu_kernels(call.approximate);
    return form ? map(form->forward, call.x, out_of(call)) : not_canonical;
}

struct GeluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, approximate)
    FASTNORM_IN_PLACE
};

Outcome gelu_backward(const Call<GeluBackwardArguments>& call) {
    const std::optional<GeluKernels> form = gelu_kernels(call.approximate);
    return form ? map_backward(form->backward, call.dy, call.x) : not_canonical;
}

// Ops of x alone and their backwards.
struct UnaryArguments {
    FASTNORM_ARGUMENTS(x, out)
};

template <auto kernel>
Outcome unary(const Call<UnaryArguments>& call) {
    return map(kernels().*kernel, call.x, out_of(call));
}

struct UnaryBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x)
    FASTNORM_IN_PLACE
};

template <auto kernel>
Outcome unary_backward(const Call<UnaryBackwardArguments>& call) {
    return map_backward(kernels().*kernel, call.dy, call.x);
}

// Backwards that take y too, from which they follow then.
struct SigmoidBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, y)
    FASTNORM_IN_PLACE
};

template <auto from_x, auto from_result>
Outcome sigmoid_backward(const Call<SigmoidBackwardArguments>& call) {
    if (call.y == Py_None) return map_backward(kernels().*from_x, call.dy, call.x);
    const MaybeArray x = as_array(call.x), y = as_array(call.y);
    if (!x || !y || x->element != y->element || !same_shape(*x, *y)) return not_canonical;
    return map_backward(kernels().*from_result, call.dy, call.y);
}

struct LeakyReluArguments {
    FASTNORM_ARGUMENTS(x, negative_slope, out)
};

// Of x and one number; nothing where that is infinite in the type that x is computed in.
std::optional<ParametricActivation> task_of_number(Slot x, Slot number_slot) {
    const MaybeArray array = as_array(x);
    const std::optional<double> number = as_number(number_slot, -HUGE_VAL);
    if (!array || !number || !fits_compute(*number, array->element)) return std::nullopt;
    return ParametricActivation{{}, {*number}};
}

Outcome leaky_relu(const Call<LeakyReluArguments>& call) {
    const auto task = task_of_number(call.x, call.negative_slope);
    return task ? map(kernels().leaky_relu_forward, call.x, out_of(call), *task) : not_canonical;
}

struct LeakyReluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, negative_slope)
    FASTNORM_IN_PLACE
};

Outcome leaky_relu_backward(const Call<LeakyReluBackwardArguments>& call) {
    const auto task = task_of_number(call.x, call.negative_slope);
    return task ? map_backward(kernels().leaky_relu_backward, call.dy, call.x, *task) : not_canonical;
}

struct EluArguments {
    FASTNORM_ARGUMENTS(x, alpha, out)
};

Outcome elu(const Call<EluArguments>& call) {
    const auto task = task_of_number(call.x, call.alpha);
    return task ? map(kernels().elu_forward, call.x, out_of(call), *task) : not_canonical;
}

struct EluBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, alpha)
    FASTNORM_IN_PLACE
};

Outcome elu_backward(const Call<EluBackwardArguments>& call) {
    const auto task = task_of_number(call.x, call.alpha);
    return task ? map_backward(kernels().elu_backward, call.dy, call.x, *task) : not_canonical;
}

// softplus mirrored, and nowhere linear.
ParametricActivation logsigmoid_task() { return {{}, {-1, HUGE_VAL}}; }

Outcome logsigmoid(const Call<UnaryArguments>& call) {
    return map(kernels().softplus_forward, call.x, out_of(call), logsigmoid_task());
}

Outcome logsigmoid_backward(const Call<UnaryBackwardArguments>& call) {
    return map_backward(kernels().softplus_backward, call.dy, call.x, logsigmoid_task());
}

struct SoftplusArguments {
    FASTNORM_ARGUMENTS(x, beta, threshold, out)
};

// Nothing where beta is 0 or infinite in the type that x is computed in.
std::optional<ParametricActivation> softplus_task(Slot x, Slot beta_slot, Slot threshold_slot) {
    const MaybeArray array = as_array(x);
    const std::optional<double> beta = as_number(beta_slot, -HUGE_VAL);
    const std::optional<double> threshold = as_number(threshold_slot, -HUGE_VAL);
    if (!array || !beta || !threshold) return std::nullopt;
    const bool is_double = compute_element(array->element) == Element::float64;
    const double rounded = is_double ? *beta : double(float(*beta));
    if (rounded == 0 || !std::isfinite(rounded)) return std::nullopt;
    return ParametricActivation{{}, {*beta, *threshold}};
}

Outcome softplus(const Call<SoftplusArguments>& call) {
    const auto task = softplus_task(call.x, call.beta, call.threshold);
    return task ? map(kernels().softplus_forward, call.x, out_of(call), *task) : not_canonical;
}

struct SoftplusBackwardArguments {
    FASTNORM_ARGUMENTS(dy, x, beta, threshold)
    FASTNORM_IN_PLACE
};

Outcome softplus_backward(const Call<SoftplusBackwardArguments>& call) {
    const auto task = softplus_task(call.x, call.beta, call.threshold);
    return task ? map_backward(kernels().softplus_backward, call.dy, call.x, *task) : not_canonical;
}

#define FASTNORM_UNARY_OP(argument, name) native_op<unary<&KernelTable::name##_forward>>(#name),
#define FASTNORM_UNARY_BACKWARD(argument, name) \
    native_op<unary_backward<&KernelTable::name##_backward>>(#name "_backward"),
#define FASTNORM_SIGMOID_BACKWARD(argument, name)                                                          \
    native_op<sigmoid_backward<&KernelTable::name##_backward, &KernelTable::name##_backward_from_result>>( \
        #name "_backward"                                                                                  \
    ),

}  // namespace

const NativeOp activation_ops[] = {
    FASTNORM_UNARY_ACTIVATIONS(FASTNORM_UNARY_OP, ) FASTNORM_PLAIN_ACTIVATIONS(FASTNORM_UNARY_BACKWARD, )
        FASTNORM_SIGMOID_ACTIVATIONS(FASTNORM_SIGMOID_BACKWARD, ) FASTNORM_OP(leaky_relu),
    FASTNORM_OP(leaky_relu_backward),
    FASTNORM_OP(elu),
    FASTNORM_OP(elu_backward),
    FASTNORM_OP(softplus),
    FASTNORM_OP(softplus_backward),
    FASTNORM_OP(logsigmoid),
    FASTNORM_OP(logsigmoid_backward),
    FASTNORM_OP(swish),
    FASTNORM_OP(swish_backward),
    FASTNORM_OP(gelu),
    FASTNORM_OP(gelu_backward),
    end_of_ops,
};

}  // namespace fastnorm
