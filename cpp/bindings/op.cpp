#include "bindings/op_object.h"

#include <cstddef>
#include <cstring>

#include <structmember.h>

#include "bindings/arguments.h"
#include "bindings/families.h"

#if PY_VERSION_HEX < 0x030D0000  // where the GIL is held all the time
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

namespace fastnorm {

namespace {

PyTypeObject* op_type = nullptr;

// ---- making one

const NativeOp* find_native(const char* name) {
    for (const NativeOp* family : families) {
        for (; family->name; ++family) {
            if (std::strcmp(family->name, name) == 0) return family;
        }
    }
    return nullptr;
}

// How many arrays a function says that it returns, as Op::gradients.
int count_gradients(PyObject* function) {
    const Reference annotations(PyObject_GetAttrString(function, "__annotations__"));
    PyObject* stated = annotations && PyDict_Check(annotations.get())
                           ? PyDict_GetItemString(annotations.get(), "return")
                           : nullptr;
    const char* text = stated && PyUnicode_Check(stated) ? PyUnicode_AsUTF8(stated) : nullptr;
    if (!text) {
        PyErr_Clear();
        return -1;
    }
    if (std::strcmp(text, "Array") == 0) return 0;
    if (std::strncmp(text, "tuple[", 6) != 0) return -1;
    int count = 1, depth = 1;
    for (text += 6; *text && depth > 0; ++text) {
        depth += (*text == '[') - (*text == ']');
        count += *text == ',' && depth == 1;
    }
    return *text ? -1 : count;  // a union is either
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
    // Beyond what its native function takes a backward has `out`, which op_call.cpp sees to.
    op.passed = op.native->count;
    const bool fills =
        op.count == op.passed + 1 &&
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(variables.get(), op.passed), "out") == 0;
    if (op.count != op.passed + fills) {
        PyErr_Format(
            PyExc_TypeError, "%U takes %d arguments, its native function %d (%s)", name_of(op), op.count,
            op.native->count, op.native->arguments
        );
        return false;
    }
    op.names = PyTuple_GetSlice(variables.get(), 0, op.count);
    const Reference passed(PyTuple_GetSlice(variables.get(), 0, op.passed));
    const Reference separator(PyUnicode_FromString(", "));
    const Reference stated(passed && separator ? PyUnicode_Join(separator.get(), passed.get()) : nullptr);
    if (!op.names || !stated) return false;
    if (PyUnicode_CompareWithASCIIString(stated.get(), op.native->arguments) != 0) {
        PyErr_Format(
            PyExc_TypeError, "%U takes (%U), its native function (%s)", name_of(op), stated.get(),
            op.native->arguments
        );
        return false;
    }
    const Reference sequences(PyUnicode_FromString(op.native->sequences));
    const Reference listed(sequences ? PyUnicode_Split(sequences.get(), separator.get(), -1) : nullptr);
    if (!listed) return false;
    for (int i = 0; i < op.count; ++i) {
        const int found = PySequence_Contains(listed.get(), PyTuple_GET_ITEM(op.names, i));
        if (found < 0) return false;
        op.sequences |= unsigned(found) << i;
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
        if (i < op.passed && PyUnicode_CompareWithASCIIString(name, "out") == 0) op.out = i;
    }
    op.gradients = fills ? count_gradients(op.function) : -1;
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
    op.vectorcall = call_op;
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
    if (!prepare_calls()) return false;
    op_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
    return op_type && PyModule_AddObjectRef(module, "Op", reinterpret_cast<PyObject*>(op_type)) == 0;
}

}  // namespace fastnorm
