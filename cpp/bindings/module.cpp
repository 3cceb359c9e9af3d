// fastnorm._core: what the extension offers to Python.
#define FASTNORM_IMPORTS_NUMPY
#include "bindings/op.h"
#include "bindings/packed_weight.h"

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

#include "bindings/recycled.h"
#include "bindings/run.h"
#include "bindings/runtime.h"
#include "runtime/cache.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

namespace {

int import_numpy() {
    import_array1(-1);
    return 0;
}

// An ImportError with a message that holds text of the environment, which need not be UTF-8.
bool refuse(const std::string& message) {
    PyObject* const text =
        PyUnicode_DecodeUTF8(message.data(), Py_ssize_t(message.size()), "backslashreplace");
    if (text) PyErr_SetObject(PyExc_ImportError, text);
    Py_XDECREF(text);
    return false;
}

// What the environment says, before anything is made. False with a Python error.
bool read_environment() {
    try {
        for (const std::string& error :
             {fastnorm::threads_environment_error(), fastnorm::cache_environment_error()}) {
            if (!error.empty()) return refuse(error);
        }
        fastnorm::choose_target(std::getenv("FASTNORM_TARGET"));
        return true;
    } catch (const std::invalid_argument& unavailable) {
        return refuse(std::string("FASTNORM_TARGET: ") + unavailable.what());
    }
}

bool fill(PyObject* module) {
    return import_numpy() == 0 && read_environment() && fastnorm::prepare_runs() &&
           fastnorm::register_recycled() && fastnorm::register_op_type(module) &&
           fastnorm::register_packed_weight_type(module) && fastnorm::register_runtime(module);
}

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "fastnorm._core", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

// In one phase: types and caches belong to the process, so there is one module, however often it is imported.
PyMODINIT_FUNC PyInit__core() {
    PyObject* const module = PyModule_Create(&definition);
    if (!module) return nullptr;
    bool filled = false;
    try {
        filled = fill(module);
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ImportError, error.what());
    }
#ifdef Py_GIL_DISABLED
    filled = filled && PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED) == 0;
#endif
    if (filled) return module;
    Py_DECREF(module);
    return nullptr;
}
