// fastnorm._core: what the extension offers to Python.
#define FASTNORM_IMPORTS_NUMPY
#include "bindings/op.h"
#include "bindings/packed_weight.h"

#include <pybind11/pybind11.h>

#include <cstdlib>
#include <stdexcept>

#include "bindings/recycled.h"
#include "bindings/run.h"
#include "bindings/runtime.h"
#include "runtime/cache.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

namespace py = pybind11;

namespace {

int import_numpy() {
    import_array1(-1);
    return 0;
}

// An ImportError with a message that holds text of the environment, which need not be UTF-8.
py::import_error import_error(const std::string& message) {
    const auto text = py::reinterpret_steal<py::object>(
        PyUnicode_DecodeUTF8(message.data(), Py_ssize_t(message.size()), "backslashreplace")
    );
    return py::import_error(text ? text.cast<std::string>() : "the environment has a bad value");
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    if (import_numpy() < 0) throw py::error_already_set();
    for (const std::string& error :
         {fastnorm::threads_environment_error(), fastnorm::cache_environment_error()}) {
        if (!error.empty()) throw import_error(error);
    }
    try {
        fastnorm::choose_target(std::getenv("FASTNORM_TARGET"));
    } catch (const std::invalid_argument& unavailable) {
        throw import_error(std::string("FASTNORM_TARGET: ") + unavailable.what());
    }
    if (!fastnorm::prepare_runs() || !fastnorm::register_recycled() || !fastnorm::register_op_type(m.ptr()) ||
        !fastnorm::register_packed_weight_type(m.ptr()) || !fastnorm::register_runtime(m.ptr()))
        throw py::error_already_set();
}
