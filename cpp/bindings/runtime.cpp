#include "bindings/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#include "bindings/arrays.h"
#include "runtime/cache.h"
#include "runtime/cpu.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

namespace fastnorm {

namespace {

// GB/s (read plus written) of the best of several copies past the caches, between blocks of `bytes` that are
// in memory.
double copy_bandwidth(std::int64_t bytes, int threads) {
    bytes = std::max<std::int64_t>(bytes / copy_line, 1) * copy_line;
    void* blocks[2] = {acquire_block(std::size_t(bytes)).data, acquire_block(std::size_t(bytes)).data};
    double best = 0;
    if (blocks[0] && blocks[1]) {
        std::memset(blocks[0], 1, std::size_t(bytes));
        std::memset(blocks[1], 1, std::size_t(bytes));
        const Copy task{static_cast<const char*>(blocks[0]), static_cast<char*>(blocks[1])};
        const std::int64_t lines = bytes / copy_line;
        constexpr std::int64_t chunk_lines = 1024;
        const std::size_t chunks = std::size_t((lines + chunk_lines - 1) / chunk_lines);
        const auto copy = kernels().copy[int(Element::float32)];
        using Clock = std::chrono::steady_clock;
        const Clock::time_point finish = Clock::now() + std::chrono::milliseconds(200);
        for (int repeat = 0; repeat < 3 || Clock::now() < finish; ++repeat) {
            const Clock::time_point start = Clock::now();
            parallel_for(chunks, threads, [&](std::size_t begin, std::size_t end) noexcept {
                copy(
                    task, std::int64_t(begin) * chunk_lines, std::min(lines, std::int64_t(end) * chunk_lines),
                    nullptr
                );
            });
            const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
            best = std::max(best, 2 * double(bytes) / seconds * 1e-9);
        }
    }
    for (void* block : blocks) release_block(block, std::size_t(bytes));
    return best;
}

// A function of Python whose errors in C++ become errors of Python.
template <PyObject* (*function)(PyObject*)>
PyObject* guarded(PyObject*, PyObject* argument) noexcept {
    try {
        return function(argument);
    } catch (const std::invalid_argument& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const std::exception&) {
        PyErr_NoMemory();
    }
    return nullptr;
}

PyObject* text_of(const std::string& text) {
    return PyUnicode_FromStringAndSize(text.data(), Py_ssize_t(text.size()));
}

bool read_int(PyObject* argument, int& number) {
    const long value = PyLong_AsLong(argument);
    if (value == -1 && PyErr_Occurred()) return false;
    number = int(value);
    if (number == value) return true;
    PyErr_SetString(PyExc_OverflowError, "the number does not fit an int");
    return false;
}

PyObject* set_threads(PyObject* argument) {
    int n;
    if (!read_int(argument, n)) return nullptr;
    set_num_threads(n);
    Py_RETURN_NONE;
}

PyObject* get_threads(PyObject*) { return PyLong_FromLong(num_threads()); }

PyObject* swap_limit(PyObject* argument) {
    int n;
    if (!read_int(argument, n)) return nullptr;
    return PyLong_FromLong(swap_thread_limit(n));
}

PyObject* list_targets(PyObject*) {
    const std::vector<std::string> names = available_targets();
    Reference result(PyTuple_New(Py_ssize_t(names.size())));
    for (std::size_t i = 0; result && i < names.size(); ++i) {
        PyObject* const name = text_of(names[i]);
        if (!name) return nullptr;
        PyTuple_SET_ITEM(result.get(), Py_ssize_t(i), name);
    }
    return result.release();
}

PyObject* name_target(PyObject*) { return text_of(active_target()); }

PyObject* choose(PyObject* name) {
    const char* const text = PyUnicode_AsUTF8(name);
    if (!text) return nullptr;
    set_target(text);
    Py_RETURN_NONE;
}

PyObject* clear(PyObject*) {
    clear_cache();
    Py_RETURN_NONE;
}

using Number = unsigned long long;  // as Py_BuildValue takes it for K

PyObject* describe_cache(PyObject*) {
    const CacheInfo info = cache_info();
    return Py_BuildValue(
        "{s:K, s:K, s:K, s:K}", "limit_bytes", Number(info.limit_bytes), "held_bytes",
        Number(info.held_bytes), "hits", Number(info.hits), "misses", Number(info.misses)
    );
}

PyObject* list_cache_sizes(PyObject*) {
    const CacheSizes& sizes = cache_sizes();
    return Py_BuildValue(
        "{s:K, s:K, s:K}", "l1d", Number(sizes.l1d), "l2", Number(sizes.l2), "l3", Number(sizes.l3)
    );
}

PyObject* describe_build(PyObject*) {
    return Py_BuildValue("{s:s, s:s}", "compiler", FASTNORM_COMPILER, "build_type", FASTNORM_BUILD_TYPE);
}

PyObject* measure_copy(PyObject* arguments) {
    long long bytes;
    int threads;
    if (!PyArg_ParseTuple(arguments, "Li:copy_bandwidth", &bytes, &threads)) return nullptr;
    double best;
    Py_BEGIN_ALLOW_THREADS;
    best = copy_bandwidth(bytes, threads);
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(best);
}

PyMethodDef functions[] = {
    {"set_num_threads", guarded<set_threads>, METH_O, nullptr},
    {"get_num_threads", guarded<get_threads>, METH_NOARGS, nullptr},
    {"swap_thread_limit", guarded<swap_limit>, METH_O, nullptr},
    {"available_targets", guarded<list_targets>, METH_NOARGS, nullptr},
    {"active_target", guarded<name_target>, METH_NOARGS, nullptr},
    {"set_target", guarded<choose>, METH_O, nullptr},
    {"clear_cache", guarded<clear>, METH_NOARGS, nullptr},
    {"cache_info", guarded<describe_cache>, METH_NOARGS, nullptr},
    {"cache_sizes", guarded<list_cache_sizes>, METH_NOARGS, nullptr},
    {"build_info", guarded<describe_build>, METH_NOARGS, nullptr},
    {"copy_bandwidth", guarded<measure_copy>, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool register_runtime(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace fastnorm
