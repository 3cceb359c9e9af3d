#include "bindings/optim.h"

#include <cmath>

#include "bindings/families.h"
#include "bindings/run.h"

namespace fastnorm {

namespace {

// State: a tuple of contiguous arrays of the compute type, as large as the parameters, which `member` of each
// is set to.
bool as_state(
    PyObject* slot, std::vector<OptimizedParameter>& parameters, void* OptimizedParameter::* member
) {
    if (!PyTuple_CheckExact(slot) || std::size_t(PyTuple_GET_SIZE(slot)) != parameters.size()) return false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const std::optional<Array> array = as_array(PyTuple_GET_ITEM(slot, Py_ssize_t(i)));
        if (!array || array->element != compute_element(parameters[i].element)) return false;
        if (array->size() != parameters[i].size || !PyArray_ISCARRAY(array->object)) return false;
        parameters[i].*member = array->data();
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
    FASTNORM_SEQUENCES(parameters, gradients)
};

Outcome optimizer_update(const Call<OptimizerUpdateArguments>& call) {
    PyObject* parameters = call.parameters;
    PyObject* gradients = call.gradients;
    if (!(PyList_CheckExact(parameters) || PyTuple_CheckExact(parameters))) return not_canonical;
    if (!(PyList_CheckExact(gradients) || PyTuple_CheckExact(gradients))) return not_canonical;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(parameters);
    if (PySequence_Fast_GET_SIZE(gradients) != count) return not_canonical;
    std::vector<Array> arrays, slopes;
    std::vector<OptimizedParameter> updated;
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
        updated.emplace_back();
        updated.back().size = parameter->size();
        updated.back().element = parameter->element;
        updated.back().wide = gradient->element != parameter->element;
    }
    OptimizerRule rule;
    if (!as_rule(call.rule, rule, updated)) return not_canonical;

    std::vector<Contiguous> written, read;
    double elements = 0;
    for (std::size_t i = 0; i < updated.size(); ++i) {
        written.emplace_back(arrays[i], true);
        read.emplace_back(slopes[i], false);
        if (!written.back() || !read.back()) return finished(nullptr);
        updated[i].data = written.back().data();
        updated[i].gradient = read.back().data();
        elements += double(updated[i].size);
    }
    const std::int64_t step = rule.next_step();
    {
        const ReleasedGil released(update_nanoseconds(rule, elements) > gil_nanoseconds);
        for (const OptimizedParameter& parameter : updated) update_parameter(rule, step, parameter);
    }
    Py_INCREF(Py_None);
    return finished(Py_None);
}

}  // namespace

bool as_rule(PyObject* slot, OptimizerRule& rule, std::vector<OptimizedParameter>& parameters) {
    if (!PyTuple_CheckExact(slot)) return false;
    const Py_ssize_t entries = PyTuple_GET_SIZE(slot);
    if (entries == 6) {  // ("sgd", lr, momentum, nesterov, weight_decay, velocities)
        const std::optional<bool> nesterov = as_flag(PyTuple_GET_ITEM(slot, 3));
        if (!numbers_at(slot, 1, {&rule.lr, &rule.momentum}) || !numbers_at(slot, 4, {&rule.weight_decay}))
            return false;
        if (!nesterov) return false;
        rule.nesterov = *nesterov;
        PyObject* velocities = PyTuple_GET_ITEM(slot, 5);
        return velocities == Py_None || as_state(velocities, parameters, &OptimizedParameter::first);
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
    return as_state(PyTuple_GET_ITEM(slot, 9), parameters, &OptimizedParameter::first) &&
           as_state(PyTuple_GET_ITEM(slot, 10), parameters, &OptimizedParameter::second);
}

const NativeOp optim_ops[] = {
    FASTNORM_OP(optimizer_update),
    end_of_ops,
};

}  // namespace fastnorm
