#include <cstring>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/op_object.h"
#include "bindings/overlap.h"
#include "runtime/float_controls.h"

namespace fastnorm {

namespace {

PyObject* rules_type = nullptr;  // fastnorm._arguments.rules.Rules
PyObject* into_out = nullptr;    // fastnorm._arguments.gradients.into_out

// The context variable that holds the name of the backend, native where it is not set.
PyObject* backend_variable = nullptr;

// Names are interned, so they are compared as texts only where that fails. The search begins at `next`, as
// callers mostly give keywords in the order of the signature.
int find_name(const Op& op, PyObject* name, int next) {
    PyObject* const* names = &PyTuple_GET_ITEM(op.names, 0);
    for (int i = next; i < op.count; ++i) {
        if (names[i] == name) return i;
    }
    for (int i = 0; i < next; ++i) {
        if (names[i] == name) return i;
    }
    for (int i = 0; i < op.count; ++i) {
        if (PyUnicode_Compare(names[i], name) == 0) return i;
    }
    return -1;
}

// Fills `slots`, defaults included; false with TypeError set.
bool parse(const Op& op, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames, Slot* slots) {
    if (nargs > op.positional) {
        PyErr_Format(
            PyExc_TypeError, "%U() takes %d positional arguments but %zd were given", name_of(op),
            op.positional, nargs
        );
        return false;
    }
    const int given = int(nargs);
    for (int i = 0; i < given; ++i) slots[i] = args[i];
    for (int i = given; i < op.count; ++i) slots[i] = nullptr;
    const Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    int next = given;
    for (Py_ssize_t k = 0; k < keywords; ++k) {
        PyObject* name = PyTuple_GET_ITEM(kwnames, k);
        const int found = find_name(op, name, next);
        if (found < 0) {
            PyErr_Format(PyExc_TypeError, "%U() got an unexpected keyword argument %R", name_of(op), name);
            return false;
        }
        if (slots[found]) {
            PyErr_Format(PyExc_TypeError, "%U() got multiple values for argument %R", name_of(op), name);
            return false;
        }
        slots[found] = args[nargs + k];
        next = found + 1;
    }
    for (int i = given; i < op.count; ++i) {
        if (slots[i]) continue;
        if (!op.defaults[i]) {
            PyObject* name = PyTuple_GET_ITEM(op.names, i);
            PyErr_Format(PyExc_TypeError, "%U() missing required argument %R", name_of(op), name);
            return false;
        }
        slots[i] = op.defaults[i];
    }
    return true;
}

// The function of this op in the file of its family in fastnorm.<package>; a borrowed reference, or null with
// an error set.
PyObject* look_up(const Op& op, const char* package, std::atomic<PyObject*>& place) {
    PyObject* found = place.load(std::memory_order_acquire);
    if (found) return found;
    const Reference stated_in(PyObject_GetAttrString(op.function, "__module__"));
    if (!stated_in) return nullptr;
    const char* module_name = PyUnicode_AsUTF8(stated_in.get());
    if (!module_name) return nullptr;
    const char* dot = std::strrchr(module_name, '.');
    // The package first: it imports its families, and two threads that import one of each other's wait for
    // each other.
    const Reference whole(PyUnicode_FromFormat("fastnorm.%s", package));
    const Reference path(PyUnicode_FromFormat("fastnorm.%s.%s", package, dot ? dot + 1 : module_name));
    if (!whole || !path) return nullptr;
    const Reference imported(PyImport_Import(whole.get()));
    if (!imported) return nullptr;
    const Reference family(PyImport_Import(path.get()));
    if (!family) return nullptr;
    found = PyObject_GetAttr(family.get(), name_of(op));
    if (!found) return nullptr;
    PyObject* expected = nullptr;
    if (!place.compare_exchange_strong(expected, found, std::memory_order_acq_rel)) {
        Py_DECREF(found);
        found = expected;
    }
    return found;
}

// What the rules make of the arguments: a tuple of as many, or empty with an error set.
Reference canonical_arguments(Op& op, const Slot* slots) {
    PyObject* rule = look_up(op, "_arguments", op.rule);
    if (!rule) return {};
    const Reference rules(PyObject_CallOneArg(rules_type, name_of(op)));
    if (!rules) return {};
    PyObject* arguments[1 + max_arguments] = {rules.get()};
    for (int i = 0; i < op.passed; ++i) arguments[1 + i] = slots[i];
    Reference canonical(PyObject_Vectorcall(rule, arguments, std::size_t(1 + op.passed), nullptr));
    if (canonical && (!PyTuple_Check(canonical.get()) || PyTuple_GET_SIZE(canonical.get()) != op.passed)) {
        PyErr_Format(PyExc_SystemError, "%U: fastnorm._arguments did not return its arguments", name_of(op));
        return {};
    }
    return canonical;
}

PyObject* run_by_rules(Op& op, const Slot* slots) {
    const Reference canonical = canonical_arguments(op, slots);
    if (!canonical) return nullptr;
    const Outcome outcome = op.native->run(&PyTuple_GET_ITEM(canonical.get(), 0), slots);
    if (!outcome.canonical) {
        // Nothing that the rules pass is left over, unless another thread gave it another shape since.
        PyErr_Format(
            PyExc_ValueError, "%U: an argument changed during the call, needs arrays that keep their shape",
            name_of(op)
        );
        return nullptr;
    }
    return outcome.result;
}

// The twin takes canonical arguments, but `out` as the caller gave it, for that is what it returns.
PyObject* run_reference(Op& op, const Slot* slots) {
    const Reference canonical = canonical_arguments(op, slots);
    if (!canonical) return nullptr;
    PyObject* twin = look_up(op, "reference", op.twin);
    if (!twin) return nullptr;
    Slot arguments[max_arguments];
    for (int i = 0; i < op.passed; ++i) arguments[i] = PyTuple_GET_ITEM(canonical.get(), i);
    if (op.out >= 0) arguments[op.out] = slots[op.out];
    return PyObject_Vectorcall(twin, arguments, std::size_t(op.passed), nullptr);
}

// Whether the twin runs: 1, 0, or -1 with an error set.
int runs_reference(const Op& op) {
    if (op.runs != Runs::chosen) return op.runs == Runs::reference;
    PyObject* name = nullptr;
    if (PyContextVar_Get(backend_variable, nullptr, &name) < 0) return -1;
    if (!name) return 0;
    const bool is_reference =
        PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "reference") == 0;
    Py_DECREF(name);
    return is_reference;
}

PyObject* run(Op& op, const Slot* slots, bool reference) {
    if (reference) return run_reference(op, slots);
    const DefaultFloatControls controls;
    const Outcome outcome = op.native->run(slots, slots);
    return outcome.canonical ? outcome.result : run_by_rules(op, slots);
}

// The array that a backward's first gradient may be written to at once: the only one that `out` asks for, and
// apart from all arrays that are given, or one of them where that is as good. What is not judged here is
// copied.
PyArrayObject* first_gradient(const Op& op, const Slot* slots, PyObject* out) {
    if (PyTuple_CheckExact(out)) {
        if (PyTuple_GET_SIZE(out) == 0 || PyTuple_GET_SIZE(out) != op.gradients) return nullptr;
        for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(out); ++i) {
            if (PyTuple_GET_ITEM(out, i) != Py_None) return nullptr;
        }
        out = PyTuple_GET_ITEM(out, 0);
    } else if (op.gradients != 0) {
        return nullptr;
    }
    const MaybeArray array = as_array(out);
    if (!array || !PyArray_ISBEHAVED(array->object)) return nullptr;
    for (int i = 0; i < op.passed; ++i) {
        PyObject* const slot = slots[i];
        if (slot == Py_None || PyFloat_CheckExact(slot) || PyLong_CheckExact(slot) || PyBool_Check(slot) ||
            PyUnicode_CheckExact(slot))
            continue;
        if (!PyArray_CheckExact(slot)) return nullptr;
        if (op.native->in_place) {
            const MaybeArray input = as_array(slot);
            if (input && same_elements(*array, *input)) continue;
        }
        if (!are_apart(extent_of(*array), extent_of(reinterpret_cast<PyArrayObject*>(slot)))) return nullptr;
    }
    return array->object;
}

// A backward whose gradients go where `out` says. They are computed first, into memory of their own but for
// first_gradient(), and then have their types and shapes: nothing is written before all is known to fit.
PyObject* run_into(Op& op, const Slot* slots, bool reference) {
    PyObject* const out = slots[op.passed];
    Reference gradients;
    {
        const Destination destination(reference ? nullptr : first_gradient(op, slots, out));
        gradients = Reference(run(op, slots, reference));
    }
    if (!gradients || gradients.get() == out) return gradients.release();
    const Reference inputs(PyTuple_New(op.passed));
    if (!inputs) return nullptr;
    for (int i = 0; i < op.passed; ++i) PyTuple_SET_ITEM(inputs.get(), i, Py_NewRef(slots[i]));
    return PyObject_CallFunctionObjArgs(into_out, name_of(op), out, gradients.get(), inputs.get(), nullptr);
}

PyObject* run_given(Op& op, const Slot* slots) {
    const int reference = runs_reference(op);
    if (reference < 0) return nullptr;
    const bool fills = op.passed < op.count && slots[op.passed] != Py_None;
    return fills ? run_into(op, slots, reference) : run(op, slots, reference);
}

// Lists of arrays as tuples that the call owns: neither the rules nor what runs without the GIL may see
// another thread change them.
PyObject* run_on_own_sequences(Op& op, Slot* slots) {
    Reference owned[max_arguments];
    for (int i = 0; i < op.count; ++i) {
        if (!(op.sequences >> i & 1) || !PyList_CheckExact(slots[i])) continue;
        owned[i] = Reference(PyList_AsTuple(slots[i]));
        if (!owned[i]) return nullptr;
        slots[i] = owned[i].get();
    }
    return run_given(op, slots);
}

}  // namespace

PyObject* call_op(PyObject* self, PyObject* const* args, std::size_t nargsf, PyObject* kwnames) {
    Op& op = *as_op(self);
    Slot slots[max_arguments];
    if (!parse(op, args, PyVectorcall_NARGS(nargsf), kwnames, slots)) return nullptr;
    return op.sequences ? run_on_own_sequences(op, slots) : run_given(op, slots);
}

bool prepare_calls() {
    const Reference backend(PyImport_ImportModule("fastnorm._backend"));
    if (!backend || !(backend_variable = PyObject_GetAttrString(backend.get(), "CHOSEN"))) return false;
    const Reference rules(PyImport_ImportModule("fastnorm._arguments.rules"));
    const Reference gradients(PyImport_ImportModule("fastnorm._arguments.gradients"));
    return rules && gradients && (rules_type = PyObject_GetAttrString(rules.get(), "Rules")) &&
           (into_out = PyObject_GetAttrString(gradients.get(), "into_out"));
}

}  // namespace fastnorm
