// fastnorm._core: what the extension offers to Python.
#define FASTNORM_IMPORTS_NUMPY
#include "bindings/module.h"

#include <pybind11/pybind11.h>

#include <cstdlib>
#include <stdexcept>

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

void register_ops(py::module_& m, const PyMethodDef* methods) {
    // PyModule_AddFunctions keeps the table; it writes to none of it.
    if (PyModule_AddFunctions(m.ptr(), const_cast<PyMethodDef*>(methods)) < 0) throw py::error_already_set();
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    if (import_numpy() < 0) throw py::error_already_set();
    for (const std::string& error :
         {fastnorm::threads_environment_error(), fastnorm::cache_environment_error()}) {
        if (!error.empty()) throw py::import_error(error);
    }
    try {
        fastnorm::choose_target(std::getenv("FASTNORM_TARGET"));
    } catch (const std::invalid_argument& unavailable) {
        throw py::import_error(std::string("FASTNORM_TARGET: ") + unavailable.what());
    }
    register_ops(m, fastnorm::norm_methods);
    register_ops(m, fastnorm::residual_norm_methods);
    register_ops(m, fastnorm::batch_norm_methods);
    register_ops(m, fastnorm::group_norm_methods);
    register_ops(m, fastnorm::moments_methods);
    register_ops(m, fastnorm::activation_methods);
    register_ops(m, fastnorm::mlp_methods);
    register_ops(m, fastnorm::optim_methods);
    register_ops(m, fastnorm::softmax_methods);
    register_ops(m, fastnorm::gate_methods);
    register_ops(m, fastnorm::attention_methods);
    register_ops(m, fastnorm::linear_methods);
    register_ops(m, fastnorm::class_loss_methods);
    register_ops(m, fastnorm::elementwise_loss_methods);
    register_ops(m, fastnorm::memory_methods);
    fastnorm::register_runtime(m);
}
