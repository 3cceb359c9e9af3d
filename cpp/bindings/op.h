// An op as Python sees it, and the native function behind it.
//
// An op is an object of the type Op, as NumPy's ufuncs are objects. It is made from one Python function,
// which states names, defaults and what may be given by position; a call parses the arguments once, by these,
// and goes to the native function, or to the NumPy twin where the backend of the context says so.
#pragma once

#include <cstring>
#include <new>
#include <type_traits>

#include "bindings/numpy.h"

namespace fastnorm {

// An argument: a borrowed reference. Those that were not given hold their defaults.
using Slot = PyObject*;
constexpr int max_arguments = 16;

// The members of a structure that names the arguments of an op, in the order of the Python function; their
// names are compared with it when the op is made.
#define FASTNORM_ARGUMENTS(...) \
    Slot __VA_ARGS__;           \
    static constexpr const char* names = #__VA_ARGS__;

// Those among them that are sequences of arrays, in their order. A list is a tuple when it gets here, which
// the call owns: the caller's other threads may change their list.
#define FASTNORM_SEQUENCES(...) static constexpr const char* sequences = #__VA_ARGS__;

// In the structure of a backward whose gradient has the shape of its inputs, and of which each element
// depends on the same element of these alone: it may take the place of one of them.
#define FASTNORM_IN_PLACE static constexpr bool in_place = true;

// What running an op on some arguments came to: a result, a Python error (null, canonical), or arguments that
// are not canonical.
struct Outcome {
    PyObject* result;
    bool canonical;
};
constexpr Outcome not_canonical{nullptr, false};
inline Outcome finished(PyObject* result) { return {result, true}; }

// One call of an op: its arguments, and the same as the caller gave them. The two differ where the arguments
// come from fastnorm._arguments (`checked`); rules beyond memory safety then hold already.
template <class Arguments>
struct Call : Arguments {
    const Arguments& given;
    bool checked;
};

// The argument `out`: the array that is written, and what the caller gave, which the op returns.
struct Out {
    Slot array, given;
    bool checked;
};
template <class Arguments>
Out out_of(const Call<Arguments>& call) {
    return {call.out, call.given.out, call.checked};
}

// What the extension has for an op: it takes arguments that need no rule and answers "not canonical" for all
// others, without an error, whereupon it is called again with what fastnorm._arguments returns for them.
struct NativeOp {
    const char* name;
    const char* arguments;  // names, separated by ", "
    const char* sequences;  // likewise
    int count;
    bool in_place;  // as FASTNORM_IN_PLACE says
    Outcome (*run)(const Slot* slots, const Slot* given);
};

template <class Function>
struct ArgumentsOf;
template <class Arguments>
struct ArgumentsOf<Outcome (*)(const Call<Arguments>&)> {
    using type = Arguments;
};

template <class Arguments, class = void>
constexpr const char* sequences_of = "";
template <class Arguments>
constexpr const char* sequences_of<Arguments, std::void_t<decltype(Arguments::sequences)>> =
    Arguments::sequences;

template <class Arguments, class = void>
constexpr bool is_in_place = false;
template <class Arguments>
constexpr bool is_in_place<Arguments, std::void_t<decltype(Arguments::in_place)>> = Arguments::in_place;

template <auto function>
Outcome run_native(const Slot* slots, const Slot* given) {
    using Arguments = typename ArgumentsOf<decltype(function)>::type;
    static_assert(std::is_trivially_copyable_v<Arguments> && sizeof(Arguments) % sizeof(Slot) == 0);
    static_assert(sizeof(Arguments) <= max_arguments * sizeof(Slot));
    Arguments original;
    std::memcpy(&original, given, sizeof(Arguments));
    Call<Arguments> call{original, original, slots != given};
    if (call.checked) std::memcpy(static_cast<Arguments*>(&call), slots, sizeof(Arguments));
    // A binding may run out of memory for what it gathers, before any kernel has started.
    try {
        return function(call);
    } catch (const std::bad_alloc&) {
        return finished(PyErr_NoMemory());
    }
}

template <auto function>
constexpr NativeOp native_op(const char* name) {
    using Arguments = typename ArgumentsOf<decltype(function)>::type;
    return {
        name,
        Arguments::names,
        sequences_of<Arguments>,
        int(sizeof(Arguments) / sizeof(Slot)),
        is_in_place<Arguments>,
        run_native<function>
    };
}

// An entry of a family's list, which ends with an entry without a name: the function has the name of the op.
#define FASTNORM_OP(name) native_op<name>(#name)
constexpr NativeOp end_of_ops{nullptr, nullptr, nullptr, 0, false, nullptr};

// Adds the type Op to the module; false with an error set.
bool register_op_type(PyObject* module);

}  // namespace fastnorm
