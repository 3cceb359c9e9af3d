#include "bindings/op.h"

#include <atomic>
#include <cstddef>
#include <string>

#include <structmember.h>

#include "bindings/arguments.h"
#include "bindings/families.h"
#include "runtime/float_controls.h"

#if PY_VERSION_HEX < 0x030D0000  // where the GIL is held all the time
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

namespace fastnorm {

namespace {

// What a call runs: what the context says, or always the same.
enum class Runs { chosen, native, reference };

struct Op {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* dict;
    PyObject* weak_references;
    PyObject* function;                 // states the signature and documents the op
    PyObject* names;                    // a tuple of all arguments
    PyObject* defaults[max_arguments];  // null: required
    int count, positional;
    int out;  // the argument `out`, -1 where there is none
    const NativeOp* native;
    Runs runs;
    std::atomic<PyObject*> rule, twin;               // looked up by the first call that needs them
    std::atomic<PyObject*> as_native, as_reference;  // the same op with another choice
    PyObject* base;                                  // the op whose choice this is
    PyObject* backward;                              // null: none
};

Op* as_op(PyObject* object) { return reinterpret_cast<Op*>(object); }
PyTypeObject* op_type = nullptr;

PyObject* rules_type = nullptr;  // fastnorm._arguments.rules.Rules

// The context variable that holds the name of the backend, native where it is not set.
PyObject* backend_variable = nullptr;

// ---- a call

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

PyObject* name_of(const Op& op) { return reinterpret_cast<PyFunctionObject*>(op.function)->func_name; }

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
    for (int i = 0; i < op.count; ++i) arguments[1 + i] = slots[i];
    Reference canonical(PyObject_Vectorcall(rule, arguments, std::size_t(1 + op.count), nullptr));
    if (canonical && (!PyTuple_Check(canonical.get()) || PyTuple_GET_SIZE(canonical.get()) != op.count)) {
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
        PyErr_Format(
            PyExc_SystemError, "%U: fastnorm._arguments returned arguments that are not canonical",
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
    for (int i = 0; i < op.count; ++i) arguments[i] = PyTuple_GET_ITEM(canonical.get(), i);
    if (op.out >= 0) arguments[op.out] = slots[op.out];
    return PyObject_Vectorcall(twin, arguments, std::size_t(op.count), nullptr);
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

PyObject* call(PyObject* self, PyObject* const* args, std::size_t nargsf, PyObject* kwnames) {
    Op& op = *as_op(self);
    Slot slots[max_arguments];
    if (!parse(op, args, PyVectorcall_NARGS(nargsf), kwnames, slots)) return nullptr;
    const int reference = runs_reference(op);
    if (reference != 0) return reference < 0 ? nullptr : run_reference(op, slots);
    const DefaultFloatControls controls;
    const Outcome outcome = op.native->run(slots, slots);
    return outcome.canonical ? outcome.result : run_by_rules(op, slots);
}

// ---- making one

const NativeOp* find_native(const char* name) {
    for (const NativeOp* family : families) {
        for (; family->name; ++family) {
            if (std::strcmp(family->name, name) == 0) return family;
        }
    }
    return nullptr;
}

// Takes the signature from op.function; false with an error set, also where the native function names its
// arguments otherwise.
bool take_signature(Op& op) {
    const Reference code(PyObject_GetAttrString(op.function, "__code__"));
    const Reference variables(code ? PyObject_GetAttrString(code.get(), "co_varnames") : nullptr);
    const Reference positional(code ? PyObject_GetAttrString(code.get(), "co_argcount") : nullptr);
    const Reference keyword_only(code ? PyObject_GetAttrString(code.get(), "co_kwonlyargcount") : nullptr);
    const Reference unnamed(code ? PyObject_GetAttrString(code.get(), "co_posonlyargcount") : nullptr);
    const Reference flags(code ? PyObject_GetAttrString(code.get(), "co_flags") : nullptr);
    if (!variables || !positional || !keyword_only || !unnamed || !flags) return false;
    if (PyLong_AsLong(unnamed.get()) || PyLong_AsLong(flags.get()) & (CO_VARARGS | CO_VARKEYWORDS)) {
        PyErr_Format(PyExc_TypeError, "%U: every argument of an op can be given by its name", name_of(op));
        return false;
    }
    op.positional = int(PyLong_AsLong(positional.get()));
    const int keywords = int(PyLong_AsLong(keyword_only.get()));
    op.count = op.positional + keywords;
    if (op.count != op.native->count) {
        PyErr_Format(
            PyExc_TypeError, "%U takes %d arguments, its native function %d (%s)", name_of(op), op.count,
            op.native->count, op.native->arguments
        );
        return false;
    }
    op.names = PyTuple_GetSlice(variables.get(), 0, op.count);
    if (!op.names) return false;
    const Reference separator(PyUnicode_FromString(", "));
    const Reference stated(separator ? PyUnicode_Join(separator.get(), op.names) : nullptr);
    if (!stated) return false;
    if (PyUnicode_CompareWithASCIIString(stated.get(), op.native->arguments) != 0) {
        PyErr_Format(
            PyExc_TypeError, "%U takes (%U), its native function (%s)", name_of(op), stated.get(),
            op.native->arguments
        );
        return false;
    }
    PyObject* last = PyFunction_GetDefaults(op.function);  // of the last positional arguments
    const int defaults = last ? int(PyTuple_GET_SIZE(last)) : 0;
    if (defaults > op.positional) {
        PyErr_Format(
            PyExc_TypeError, "%U has %d defaults for %d arguments", name_of(op), defaults, op.positional
        );
        return false;
    }
    for (int i = 0; i < defaults; ++i) {
        op.defaults[op.positional - defaults + i] = Py_NewRef(PyTuple_GET_ITEM(last, i));
    }
    PyObject* by_name = PyFunction_GetKwDefaults(op.function);
    op.out = -1;
    for (int i = op.positional; i < op.count; ++i) {
        PyObject* name = PyTuple_GET_ITEM(op.names, i);
        op.defaults[i] = by_name ? Py_XNewRef(PyDict_GetItemWithError(by_name, name)) : nullptr;
        if (PyUnicode_CompareWithASCIIString(name, "out") == 0) op.out = i;
    }
    return !PyErr_Occurred();
}

// What tools look at, as functools.wraps copies it: inspect.signature follows __wrapped__.
bool take_attributes(Op& op) {
    if (!(op.dict = PyDict_New())) return false;
    for (const char* name : {"__name__", "__qualname__", "__module__", "__doc__", "__annotations__"}) {
        const Reference value(PyObject_GetAttrString(op.function, name));
        if (!value || PyDict_SetItemString(op.dict, name, value.get()) < 0) return false;
    }
    if (op.runs == Runs::reference) {
        const Reference module(PyUnicode_FromString("fastnorm.reference"));
        if (!module || PyDict_SetItemString(op.dict, "__module__", module.get()) < 0) return false;
    }
    return PyDict_SetItemString(op.dict, "__wrapped__", op.function) == 0;
}

PyObject* make(PyObject* function, Runs runs, PyObject* base) {
    Reference object(op_type->tp_alloc(op_type, 0));
    if (!object) return nullptr;
    Op& op = *as_op(object.get());
    op.vectorcall = call;
    op.function = Py_NewRef(function);
    op.runs = runs;
    op.base = Py_XNewRef(base);
    const char* name = PyUnicode_AsUTF8(name_of(op));
    if (!name) return nullptr;
    op.native = find_native(name);
    if (!op.native) {
        PyErr_Format(PyExc_TypeError, "the extension has no op '%s'", name);
        return nullptr;
    }
    if (!take_signature(op) || !take_attributes(op)) return nullptr;
    return object.release();
}

PyObject* create(PyTypeObject*, PyObject* args, PyObject* kwargs) {
    PyObject* function;
    const char* const names[] = {"function", nullptr};
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!:Op", const_cast<char**>(names), &PyFunction_Type, &function
        )) {
        return nullptr;
    }
    return make(function, Runs::chosen, nullptr);
}

// ---- attributes

PyObject* variant(PyObject* self, std::atomic<PyObject*>& place, Runs runs) {
    Op& op = *as_op(self);
    if (op.runs == runs) return Py_NewRef(self);
    if (op.base) return PyObject_GetAttrString(op.base, runs == Runs::native ? "native" : "reference");
    if (PyObject* made = place.load(std::memory_order_acquire)) return Py_NewRef(made);
    PyObject* made = make(op.function, runs, self);
    if (!made) return nullptr;
    PyObject* expected = nullptr;
    if (!place.compare_exchange_strong(expected, Py_NewRef(made), std::memory_order_acq_rel)) {
        Py_DECREF(made);  // twice: one reference was for the place
        Py_DECREF(made);
        made = Py_NewRef(expected);
    }
    return made;
}

PyObject* get_native(PyObject* self, void*) { return variant(self, as_op(self)->as_native, Runs::native); }
PyObject* get_reference(PyObject* self, void*) {
    return variant(self, as_op(self)->as_reference, Runs::reference);
}

// The op of the gradients, on the same backend as this one; None where there is none.
PyObject* get_backward(PyObject* self, void*) {
    const Op& op = *as_op(self);
    PyObject* owner = op.base ? op.base : self;
    PyObject* kept;
    Py_BEGIN_CRITICAL_SECTION(owner);
    kept = Py_XNewRef(as_op(owner)->backward);
    Py_END_CRITICAL_SECTION();
    Reference found(kept ? kept : Py_NewRef(Py_None));
    if (!op.base || found.get() == Py_None) return found.release();
    return PyObject_GetAttrString(found.get(), op.runs == Runs::native ? "native" : "reference");
}

int set_backward(PyObject* self, PyObject* value, void*) {
    Op& op = *as_op(self);
    PyObject* before;
    Py_BEGIN_CRITICAL_SECTION(self);
    before = op.backward;
    op.backward = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    return 0;
}

PyObject* get_signature(PyObject* self, void*) {
    const Reference inspect(PyImport_ImportModule("inspect"));
    return inspect ? PyObject_CallMethod(inspect.get(), "signature", "O", as_op(self)->function) : nullptr;
}

PyObject* represent(PyObject* self) {
    const Reference module(PyObject_GetAttrString(self, "__module__"));
    if (!module) return nullptr;
    const char* const suffix[] = {"", ".native", ""};
    const Op& op = *as_op(self);
    return PyUnicode_FromFormat("<op %S.%U%s>", module.get(), name_of(op), suffix[int(op.runs)]);
}

// By name; what always runs natively, by the op it belongs to.
PyObject* reduce(PyObject* self, PyObject*) {
    const Op& op = *as_op(self);
    if (op.runs != Runs::native) return Py_NewRef(name_of(op));
    const Reference builtins(PyImport_ImportModule("builtins"));
    const Reference get(builtins ? PyObject_GetAttrString(builtins.get(), "getattr") : nullptr);
    return get ? Py_BuildValue("O(Os)", get.get(), op.base, "native") : nullptr;
}

// As a function, an op that is an attribute of a class becomes a method.
PyObject* bind(PyObject* self, PyObject* object, PyObject*) {
    return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    const Op& op = *as_op(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(op.dict);
    Py_VISIT(op.function);
    for (PyObject* value : op.defaults) Py_VISIT(value);
    Py_VISIT(op.base);
    Py_VISIT(op.backward);
    for (const auto* place : {&op.rule, &op.twin, &op.as_native, &op.as_reference}) Py_VISIT(place->load());
    return 0;
}

int clear(PyObject* self) {
    Op& op = *as_op(self);
    Py_CLEAR(op.dict);
    Py_CLEAR(op.base);
    Py_CLEAR(op.backward);
    for (PyObject*& value : op.defaults) Py_CLEAR(value);
    for (auto* place : {&op.rule, &op.twin, &op.as_native, &op.as_reference})
        Py_XDECREF(place->exchange(nullptr));
    return 0;
}

void destroy(PyObject* self) {
    PyObject_GC_UnTrack(self);
    Op& op = *as_op(self);
    if (op.weak_references) PyObject_ClearWeakRefs(self);
    clear(self);
    Py_XDECREF(op.function);
    Py_XDECREF(op.names);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Op, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Op, weak_references), READONLY, nullptr},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Op, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"__signature__", get_signature, nullptr, nullptr, nullptr},
    {"backward", get_backward, set_backward, "The op of the gradients, None where there is none.", nullptr},
    {"native", get_native, nullptr, "The op on the compiled kernels, whatever the backend.", nullptr},
    {"reference", get_reference, nullptr, "The op on its NumPy twin, whatever the backend.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

PyType_Slot slots_of_type[] = {
    {Py_tp_doc, const_cast<char*>("An op of fastnorm, made from the function that states its signature.")},
    {Py_tp_new, slot(create)},
    {Py_tp_dealloc, slot(destroy)},
    {Py_tp_traverse, slot(traverse)},
    {Py_tp_clear, slot(clear)},
    {Py_tp_call, slot(PyVectorcall_Call)},
    {Py_tp_repr, slot(represent)},
    {Py_tp_descr_get, slot(bind)},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {
    "fastnorm._core.Op",
    sizeof(Op),
    0,
    // Immutable, as vectorcall would not follow another __call__.
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    slots_of_type,
};

}  // namespace

bool register_op_type(PyObject* module) {
    const Reference backend(PyImport_ImportModule("fastnorm._backend"));
    if (!backend || !(backend_variable = PyObject_GetAttrString(backend.get(), "CHOSEN"))) return false;
    const Reference rules(PyImport_ImportModule("fastnorm._arguments.rules"));
    if (!rules || !(rules_type = PyObject_GetAttrString(rules.get(), "Rules"))) return false;
    op_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
    return op_type && PyModule_AddObjectRef(module, "Op", reinterpret_cast<PyObject*>(op_type)) == 0;
}

}  // namespace fastnorm
