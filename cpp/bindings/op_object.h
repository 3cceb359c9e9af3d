// The object that an op is, which op.cpp makes and op_call.cpp runs.
#pragma once

#include <atomic>

#include "bindings/op.h"

namespace fastnorm {

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
    int passed;     // those of them that rules, twin and native function take, the first ones
    int out;        // the argument `out` among these, -1 where there is none
    int gradients;  // how many entries the tuple has that a backward returns; 0: an array, -1: either
    unsigned sequences = 0;  // a bit for each argument that is a sequence of arrays
    const NativeOp* native;
    Runs runs;
    std::atomic<PyObject*> rule, twin;               // looked up by the first call that needs them
    std::atomic<PyObject*> as_native, as_reference;  // the same op with another choice
    PyObject* base;                                  // the op whose choice this is
    PyObject* backward;                              // null: none
};

inline Op* as_op(PyObject* object) { return reinterpret_cast<Op*>(object); }

inline PyObject* name_of(const Op& op) { return reinterpret_cast<PyFunctionObject*>(op.function)->func_name; }

// The vectorcall of an op.
PyObject* call_op(PyObject* self, PyObject* const* args, std::size_t nargsf, PyObject* kwnames);

// Finds what a call needs of the package: once, when the module is loaded; false with an error set.
bool prepare_calls();

}  // namespace fastnorm
