#include "runtime/cache.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstring>

#include "bindings/runtime.h"
#include "runtime/cpu.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

namespace py = pybind11;

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

}  // namespace

void register_runtime(py::module_& m) {
    m.def("set_num_threads", &set_num_threads);
    m.def("get_num_threads", &num_threads);
    m.def("swap_thread_limit", &swap_thread_limit);
    m.def("available_targets", [] { return py::tuple(py::cast(available_targets())); });
    m.def("active_target", &active_target);
    m.def("set_target", &set_target);
    m.def("clear_cache", &clear_cache);
    m.def("cache_info", [] {
        const CacheInfo info = cache_info();
        py::dict result;
        result["limit_bytes"] = info.limit_bytes;
        result["held_bytes"] = info.held_bytes;
        result["hits"] = info.hits;
        result["misses"] = info.misses;
        return result;
    });
    m.def("cache_sizes", [] {
        const CacheSizes& sizes = cache_sizes();
        py::dict result;
        result["l1d"] = sizes.l1d;
        result["l2"] = sizes.l2;
        result["l3"] = sizes.l3;
        return result;
    });
    m.def("build_info", [] {
        py::dict result;
        result["compiler"] = FASTNORM_COMPILER;
        result["build_type"] = FASTNORM_BUILD_TYPE;
        return result;
    });
    m.def("copy_bandwidth", &copy_bandwidth, py::call_guard<py::gil_scoped_release>());
}

}  // namespace fastnorm
