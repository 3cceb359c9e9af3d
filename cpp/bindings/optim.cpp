#include "bindings/optim.h"

#include <algorithm>
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

bool as_number_in(PyObject* slot, double& number) {
    const std::optional<double> value = as_number(slot, -HUGE_VAL);
    if (value) number = *value;
    return value.has_value();
}

// None, or for each parameter a pair of rate and weight decay, either of which may be None.
bool as_own_settings(PyObject* slot, std::vector<OptimizedParameter>& parameters) {
    if (slot == Py_None) return true;
    if (!PyTuple_CheckExact(slot) || std::size_t(PyTuple_GET_SIZE(slot)) != parameters.size()) return false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        PyObject* pair = PyTuple_GET_ITEM(slot, Py_ssize_t(i));
        if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) return false;
        PyObject *lr = PyTuple_GET_ITEM(pair, 0), *weight_decay = PyTuple_GET_ITEM(pair, 1);
        if (lr != Py_None && !as_number_in(lr, parameters[i].lr)) return false;
        if (weight_decay != Py_None && !as_number_in(weight_decay, parameters[i].weight_decay)) return false;
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

// Whether an array can be updated where it lies. Elements that share memory are for fastnorm._arguments to
// refuse.
bool is_updatable(const Array& array, bool checked) {
    return PyArray_ISWRITEABLE(array.object) && (checked || array.is_c_contiguous());
}

OptimizedParameter parameter_of(const Array& array) {
    OptimizedParameter parameter;
    parameter.data = array.data();
    parameter.size = array.size();
    parameter.element = array.element;
    return parameter;
}

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
    std::vector<Array> arrays;
    std::vector<std::optional<Array>> slopes;  // empty: the parameter stays as it is
    std::vector<OptimizedParameter> updated;
    std::vector<Extent> read;
    for (Py_ssize_t i = 0; i < count; ++i) {
        const std::optional<Array> parameter = as_array(PySequence_Fast_GET_ITEM(parameters, i));
        if (!parameter || !is_updatable(*parameter, call.checked)) return not_canonical;
        arrays.push_back(*parameter);
        updated.push_back(parameter_of(*parameter));
        PyObject* slot = PySequence_Fast_GET_ITEM(gradients, i);
        slopes.emplace_back();
        if (slot == Py_None) continue;
        const std::optional<Array> gradient = as_array(slot);
        if (!gradient || !same_shape(*parameter, *gradient)) return not_canonical;
        updated.back().wide = gradient->element != parameter->element;
        if (updated.back().wide && gradient->element != compute_element(parameter->element))
            return not_canonical;
        slopes.back() = gradient;
        // The parameter itself may be its gradient.
        if (updated.back().wide || gradient->data() != parameter->data() || !gradient->is_c_contiguous())
            read.push_back(extent_of(gradient->object));
    }
    OptimizerRule rule;
    if (!as_rule(call.rule, rule, updated)) return not_canonical;
    if (!call.checked && !are_written_apart(updated, read)) return not_canonical;

    std::vector<Contiguous> copies;
    double elements = 0;
    for (std::size_t i = 0; i < updated.size(); ++i) {
        if (!slopes[i]) continue;
        copies.emplace_back(arrays[i], true);
        if (!copies.back()) return finished(nullptr);
        updated[i].data = copies.back().data();
        copies.emplace_back(*slopes[i], false);
        if (!copies.back()) return finished(nullptr);
        updated[i].gradient = copies.back().data();
        elements += double(updated[i].size);
    }
    {
        const ReleasedGil released(update_nanoseconds(rule, elements) > gil_nanoseconds);
        for (std::size_t i = 0; i < updated.size(); ++i) {
            if (slopes[i]) update_parameter(rule, updated[i]);
        }
    }
    Py_INCREF(Py_None);
    return finished(Py_None);
}

struct ClipGradNormArguments {
    FASTNORM_ARGUMENTS(gradients, max_norm)
    FASTNORM_SEQUENCES(gradients)
};

Outcome clip_grad_norm(const Call<ClipGradNormArguments>& call) {
    PyObject* gradients = call.gradients;
    if (!(PyList_CheckExact(gradients) || PyTuple_CheckExact(gradients))) return not_canonical;
    if (!PyFloat_CheckExact(call.max_norm)) return not_canonical;
    const double max_norm = PyFloat_AS_DOUBLE(call.max_norm);
    if (!(max_norm >= 0)) return not_canonical;
    std::vector<Array> arrays;
    std::vector<OptimizedParameter> written;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(gradients); ++i) {
        PyObject* slot = PySequence_Fast_GET_ITEM(gradients, i);
        if (slot == Py_None) continue;
        const std::optional<Array> gradient = as_array(slot);
        if (!gradient || !is_updatable(*gradient, call.checked)) return not_canonical;
        arrays.push_back(*gradient);
        written.push_back(parameter_of(*gradient));
    }
    if (!call.checked && !are_written_apart(written, {})) return not_canonical;
    std::vector<Contiguous> copies;
    std::vector<GradientArray> clipped;
    double elements = 0;
    for (const Array& array : arrays) {
        copies.emplace_back(array, true);
        if (!copies.back()) return finished(nullptr);
        clipped.push_back({copies.back().data(), array.size(), array.element});
        elements += double(array.size());
    }
    double norm = 0;
    {
        const ReleasedGil released(clip_nanoseconds(elements) > gil_nanoseconds);
        norm = clip_gradients(clipped, max_norm);
    }
    return finished(PyFloat_FromDouble(norm));
}

// The counters of a rule, one for each parameter.
bool as_steps(PyObject* slot, std::vector<OptimizedParameter>& parameters) {
    if (!PyArray_CheckExact(slot)) return false;
    PyArrayObject* counters = reinterpret_cast<PyArrayObject*>(slot);
    if (PyArray_TYPE(counters) != NPY_INT64 || PyArray_NDIM(counters) != 1 || !PyArray_ISCARRAY(counters) ||
        std::size_t(PyArray_DIM(counters, 0)) != parameters.size()) {
        return false;
    }
    std::int64_t* counter = static_cast<std::int64_t*>(PyArray_DATA(counters));
    for (OptimizedParameter& parameter : parameters) parameter.steps = counter++;
    return true;
}

}  // namespace

bool as_rule(PyObject* slot, OptimizerRule& rule, std::vector<OptimizedParameter>& parameters) {
    // As fastnorm._arguments.optim describes them: the name, what parameters have of their own, numbers,
    // flags, counters and state.
    struct Form {
        const char* name;
        Optimizer kind;
        double* numbers[6];  // each list ends with null
        bool* flags[3];
        void* OptimizedParameter::* state[4];
    };
    using P = OptimizedParameter;
    OptimizerRule& r = rule;
    const Form forms[] = {
        {"sgd", Optimizer::sgd, {&r.lr, &r.momentum, &r.weight_decay}, {&r.nesterov}, {&P::velocity}},
        {"adam",
         Optimizer::adam,
         {&r.lr, &r.beta1, &r.beta2, &r.eps, &r.weight_decay},
         {&r.decoupled, &r.corrected_eps},
         {&P::first, &P::second}},
        {"rmsprop",
         Optimizer::rmsprop,
         {&r.lr, &r.beta2, &r.eps, &r.weight_decay, &r.momentum},
         {},
         {&P::second, &P::first, &P::velocity}},
        {"lion", Optimizer::lion, {&r.lr, &r.beta1, &r.beta2, &r.weight_decay}, {}, {&P::first}},
    };
    if (!PyTuple_CheckExact(slot) || PyTuple_GET_SIZE(slot) < 1) return false;
    for (const Form& form : forms) {
        PyObject* name = PyTuple_GET_ITEM(slot, 0);
        if (!PyUnicode_CheckExact(name) || PyUnicode_CompareWithASCIIString(name, form.name) != 0) continue;
        Py_ssize_t entries = 3;
        for (int i = 0; form.numbers[i]; ++i) ++entries;
        for (int i = 0; form.flags[i]; ++i) ++entries;
        for (int i = 0; form.state[i]; ++i) ++entries;
        if (PyTuple_GET_SIZE(slot) != entries) return false;
        rule.kind = form.kind;
        Py_ssize_t at = 1;
        if (!as_own_settings(PyTuple_GET_ITEM(slot, at++), parameters)) return false;
        for (int i = 0; form.numbers[i]; ++i) {
            if (!as_number_in(PyTuple_GET_ITEM(slot, at++), *form.numbers[i])) return false;
        }
        for (int i = 0; form.flags[i]; ++i) {
            const std::optional<bool> value = as_flag(PyTuple_GET_ITEM(slot, at++));
            if (!value) return false;
            *form.flags[i] = *value;
        }
        if (!as_steps(PyTuple_GET_ITEM(slot, at++), parameters)) return false;
        for (int i = 0; form.state[i]; ++i) {
            PyObject* arrays = PyTuple_GET_ITEM(slot, at++);
            if (arrays != Py_None && !as_state(arrays, parameters, form.state[i])) return false;
        }
        return true;
    }
    return false;
}

bool are_written_apart(const std::vector<OptimizedParameter>& parameters, const std::vector<Extent>& read) {
    std::vector<Extent> written;
    written.reserve(4 * parameters.size() + 1);
    const auto add = [&](const void* data, std::int64_t count, std::int64_t size) {
        const char* begin = static_cast<const char*>(data);
        if (begin && count > 0) written.push_back({begin, begin + count * size});
    };
    for (const OptimizedParameter& p : parameters) {
        const std::int64_t size = item_size(compute_element(p.element));
        add(p.data, p.size, item_size(p.element));
        add(p.first, p.size, size);
        add(p.second, p.size, size);
        add(p.velocity, p.size, size);
    }
    if (!parameters.empty())
        add(parameters[0].steps, std::int64_t(parameters.size()), sizeof(std::int64_t));  // of all
    const auto is_before = [](const Extent& a, const Extent& b) { return a.begin < b.begin; };
    std::sort(written.begin(), written.end(), is_before);
    for (std::size_t i = 1; i < written.size(); ++i) {
        if (written[i].begin < written[i - 1].end) return false;
    }
    return std::none_of(read.begin(), read.end(), [&](const Extent& extent) {
        const auto after = std::upper_bound(written.begin(), written.end(), extent, is_before);
        if (extent.begin == extent.end) return false;
        return (after != written.end() && after->begin < extent.end) ||
               (after != written.begin() && (after - 1)->end > extent.begin);
    });
}

const NativeOp optim_ops[] = {
    FASTNORM_OP(optimizer_update),
    FASTNORM_OP(clip_grad_norm),
    end_of_ops,
};

}  // namespace fastnorm
