#include "bindings/optim.h"

#include <cmath>
#include <vector>

#include "bindings/families.h"
#include "runtime/dispatch.h"

namespace fastnorm {

namespace {

// One thread's time for an element, float32 in cache.
constexpr double sgd_nanoseconds = 0.15;
constexpr double adam_nanoseconds = 0.5;
constexpr std::int64_t elements_per_chunk = 16384;

// State: a tuple of contiguous arrays of the compute type, as large as the parameters.
bool is_state(PyObject* slot, const Array* parameters, Py_ssize_t count) {
    if (!PyTuple_CheckExact(slot) || PyTuple_GET_SIZE(slot) != count) return false;
    for (Py_ssize_t i = 0; i < count; ++i) {
        const std::optional<Array> array = as_array(PyTuple_GET_ITEM(slot, i));
        if (!array || array->element != compute_element(parameters[i].element)) return false;
        if (array->size() != parameters[i].size() || !PyArray_ISCARRAY(array->object)) return false;
    }
    return true;
}

bool numbers_at(PyObject* rule, Py_ssize_t first, std::initializer_list<double*> numbers) {
    for (double* number : numbers) {
        const std::optional<double> value = as_number(PyTuple_GET_ITEM(rule, first++), -HUGE_VAL);
        if (!value) return false;
        *number = *value;
    }
    return true;
}

// An array as contiguous aligned memory, copied where it is not; what has been written into a copy goes back
// at the end.
class Contiguous {
public:
    Contiguous(const Array& array, bool written) : written_(written) {
        const int flags = written ? NPY_ARRAY_CARRAY | NPY_ARRAY_WRITEBACKIFCOPY : NPY_ARRAY_CARRAY_RO;
        PyArray_Descr* descr = PyArray_DESCR(array.object);
        Py_INCREF(descr);
        array_ = Reference(PyArray_FromArray(array.object, descr, flags));
    }
    Contiguous(Contiguous&&) = default;
    Contiguous& operator=(Contiguous&&) = default;
    ~Contiguous() {
        if (array_ && written_) PyArray_ResolveWritebackIfCopy(array_.array());
    }
    void* data() const { return PyArray_DATA(array_.array()); }
    explicit operator bool() const { return bool(array_); }

private:
    Reference array_;
    bool written_;
};

struct OptimizerUpdateArguments {
    FASTNORM_ARGUMENTS(parameters, gradients, rule)
};

Outcome optimizer_update(const Call<OptimizerUpdateArguments>& call) {
    PyObject* parameters = call.parameters;
    PyObject* gradients = call.gradients;
    if (!(PyList_CheckExact(parameters) || PyTuple_CheckExact(parameters))) return not_canonical;
    if (!(PyList_CheckExact(gradients) || PyTuple_CheckExact(gradients))) return not_canonical;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(parameters);
    if (PySequence_Fast_GET_SIZE(gradients) != count) return not_canonical;
    std::vector<Array> arrays, slopes;
    for (Py_ssize_t i = 0; i < count; ++i) {
        const std::optional<Array> parameter = as_array(PySequence_Fast_GET_ITEM(parameters, i));
        const std::optional<Array> gradient = as_array(PySequence_Fast_GET_ITEM(gradients, i));
        if (!parameter || !gradient || !same_shape(*parameter, *gradient)) return not_canonical;
        if (gradient->element != parameter->element &&
            gradient->element != compute_element(parameter->element)) {
            return not_canonical;
        }
        if (!PyArray_ISWRITEABLE(parameter->object)) return not_canonical;
        // Elements that share memory are for fastnorm._arguments to refuse.
        if (!call.checked && !PyArray_IS_C_CONTIGUOUS(parameter->object)) return not_canonical;
        arrays.push_back(*parameter);
        slopes.push_back(*gradient);
    }
    OptimizerRule rule;
    if (!as_rule(call.rule, arrays.data(), count, rule)) return not_canonical;

    std::vector<Contiguous> written, read;
    for (Py_ssize_t i = 0; i < count; ++i) {
        written.emplace_back(arrays[std::size_t(i)], true);
        read.emplace_back(slopes[std::size_t(i)], false);
        if (!written.back() || !read.back()) return finished(nullptr);
    }
    std::int64_t step = 1;
    if (rule.steps) step = ++*rule.steps;
    double elements = 0;
    for (const Array& array : arrays) elements += double(array.size());
    {
        const ReleasedGil released(elements * adam_nanoseconds / 1000 > gil_microseconds);
        for (Py_ssize_t i = 0; i < count; ++i) {
            const Array& array = arrays[std::size_t(i)];
            update_parameter(
                rule, step, array.element, written[std::size_t(i)].data(), array.size(),
                read[std::size_t(i)].data(), slopes[std::size_t(i)].element != array.element,
                rule.first_of(i), rule.second_of(i)
            );
        }
    }
    Py_INCREF(Py_None);
    return finished(Py_None);
}

template <class Task>
void run(
    void (*kernel)(const Task&, std::int64_t, std::int64_t, void*), const Task& task, std::int64_t size,
    double nanoseconds
) {
    const std::int64_t chunks = (size + elements_per_chunk - 1) / elements_per_chunk;
    const int threads = chunks > 1 ? worthwhile_threads(nanoseconds * double(size) / 1000) : 1;
    if (threads == 1) return kernel(task, 0, size, nullptr);
    parallel_for(std::size_t(chunks), threads, [&](std::size_t begin, std::size_t end) noexcept {
        kernel(
            task, std::int64_t(begin) * elements_per_chunk,
            std::min(size, std::int64_t(end) * elements_per_chunk), nullptr
        );
    });
}

}  // namespace

bool as_rule(PyObject* slot, const Array* parameters, Py_ssize_t count, OptimizerRule& rule) {
    if (!PyTuple_CheckExact(slot)) return false;
    const Py_ssize_t entries = PyTuple_GET_SIZE(slot);
    if (entries == 6) {  // ("sgd", lr, momentum, nesterov, weight_decay, velocities)
        const std::optional<bool> nesterov = as_flag(PyTuple_GET_ITEM(slot, 3));
        if (!numbers_at(slot, 1, {&rule.lr, &rule.momentum}) || !numbers_at(slot, 4, {&rule.weight_decay}))
            return false;
        if (!nesterov) return false;
        rule.nesterov = *nesterov;
        PyObject* velocities = PyTuple_GET_ITEM(slot, 5);
        if (velocities == Py_None) return true;
        rule.first = velocities;
        return is_state(velocities, parameters, count);
    }
    if (entries != 11)
        return false;  // ("adam", lr, beta1, beta2, eps, weight_decay, decoupled, corrected_eps, ...)
    rule.is_adam = true;
    const std::optional<bool> decoupled = as_flag(PyTuple_GET_ITEM(slot, 6));
    const std::optional<bool> corrected = as_flag(PyTuple_GET_ITEM(slot, 7));
    PyObject* steps = PyTuple_GET_ITEM(slot, 8);
    if (!numbers_at(slot, 1, {&rule.lr, &rule.beta1, &rule.beta2, &rule.eps, &rule.weight_decay}))
        return false;
    if (!decoupled || !corrected || !PyArray_CheckExact(steps)) return false;
    PyArrayObject* counter = reinterpret_cast<PyArrayObject*>(steps);
    if (PyArray_TYPE(counter) != NPY_INT64 || PyArray_SIZE(counter) != 1 || !PyArray_ISCARRAY(counter))
        return false;
    rule.decoupled = *decoupled;
    rule.corrected_eps = *corrected;
    rule.steps = static_cast<std::int64_t*>(PyArray_DATA(counter));
    rule.first = PyTuple_GET_ITEM(slot, 9);
    rule.second = PyTuple_GET_ITEM(slot, 10);
    return is_state(rule.first, parameters, count) && is_state(rule.second, parameters, count);
}

void update_parameter(
    const OptimizerRule& rule, std::int64_t step, Element element, void* data, std::int64_t size,
    const void* gradient, bool wide, void* first, void* second
) {
    const int e = int(element);
    if (!rule.is_adam) {
        const SgdUpdate task{data,          gradient,          wide,         first, rule.lr,
                             rule.momentum, rule.weight_decay, rule.nesterov};
        return run(kernels().sgd_update[e], task, size, sgd_nanoseconds);
    }
    const double bias1 = 1 - std::pow(rule.beta1, double(step)),
                 bias2 = 1 - std::pow(rule.beta2, double(step));
    AdamUpdate task;
    task.parameter = data;
    task.gradient = gradient;
    task.wide = wide;
    task.first = first;
    task.second = second;
    task.beta1 = rule.beta1;
    task.beta2 = rule.beta2;
    task.step_size = rule.lr / bias1;
    task.second_scale = 1 / std::sqrt(bias2);
    // Without the correction eps stands beside sqrt(v), not sqrt(v / bias2): the short form of the paper's
    // section 2.
    task.eps = rule.corrected_eps ? rule.eps : rule.eps / std::sqrt(bias2);
    task.weight_decay = rule.decoupled ? 0 : rule.weight_decay;
    task.shrink = rule.decoupled ? 1 - rule.lr * rule.weight_decay : 1;
    run(kernels().adam_update[e], task, size, adam_nanoseconds);
}

const NativeOp optim_ops[] = {
    FASTNORM_OP(optimizer_update),
    end_of_ops,
};

}  // namespace fastnorm
