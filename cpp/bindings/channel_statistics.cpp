#include "bindings/channel_statistics.h"

#include "bindings/overlap.h"

namespace fastnorm {

namespace {

bool is_given_statistic(const MaybeArray& array, const Array& x, std::int64_t channels) {
    return array && array->ndim() == 1 && array->shape()[0] == channels && PyArray_ISALIGNED(array->object) &&
           (array->element == compute_element(x.element) || array->element == Element::float64);
}

}  // namespace

StatisticsArgument as_statistics(PyObject* slot, const Array& x, std::int64_t channels) {
    StatisticsArgument stats;
    if (slot == Py_None) return stats;
    stats.canonical = false;
    if (!PyTuple_CheckExact(slot) || PyTuple_GET_SIZE(slot) != 2) return stats;
    stats.mean = as_array(PyTuple_GET_ITEM(slot, 0));
    stats.rstd = as_array(PyTuple_GET_ITEM(slot, 1));
    stats.canonical =
        is_given_statistic(stats.mean, x, channels) && is_given_statistic(stats.rstd, x, channels);
    return stats;
}

bool Running::write_back() const {
    const Parameter* parameters[] = {&mean, &var};
    for (int k = 0; k < 2; ++k) {
        if (parameters[k]->array.get() == slots[k]) continue;
        if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(slots[k]), parameters[k]->array.array()) < 0)
            return false;
    }
    return true;
}

Running as_running(PyObject* mean, PyObject* var, Array& x, const Axes& channel) {
    Running running;
    if (mean == Py_None && var == Py_None) return running;
    const Axes others = other_axes(channel, x.ndim());
    running.slots[0] = mean;
    running.slots[1] = var;
    running.mean = as_statistic(mean, x, others);
    running.var = as_statistic(var, x, others);
    running.channels = x.shape()[channel.axis[0]];
    running.element = compute_element(x.element);
    running.step = item_size(running.element);
    return running;
}

bool can_update(const Running& running, std::initializer_list<PyObject*> others, bool checked) {
    const MaybeArray mean = as_array(running.slots[0]), var = as_array(running.slots[1]);
    if (!mean || !var || !PyArray_ISWRITEABLE(mean->object) || !PyArray_ISWRITEABLE(var->object))
        return false;
    if (checked) return true;
    for (PyObject* slot : others) {
        const MaybeArray other = as_array(slot);
        if (other && !(are_apart(*mean, *other) && are_apart(*var, *other))) return false;
    }
    return are_apart(*mean, *var);
}

}  // namespace fastnorm
