// Running a kernel over its units: on how many threads, in what chunks, with scratch for each thread.
//
// All memory is taken before a kernel starts, and no kernel calls back: where there is none, nothing has run.
// Work that takes long is stopped between units, whose results do not depend on each other, if somebody asks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan/buffer.h"
#include "runtime/pool.h"
#include "tasks/arrays.h"

namespace fastnorm {

// A kernel, called over units [begin, end) of its task with scratch of its own; and one for every element
// type, as KernelTable holds them.
template <class Task>
using Kernel = void (*)(const Task&, std::int64_t, std::int64_t, void*);
template <class Task>
using Kernels = Kernel<Task>[element_count];

// The work of a kernel: threads take `units_per_chunk` units at a time, and it takes one thread about
// `nanoseconds`, by which their number is chosen. Neither changes a result. `scratch_bytes` are for each
// thread.
struct Work {
    std::int64_t units = 0;
    std::int64_t units_per_chunk = 1;
    double nanoseconds = 0;
    std::int64_t scratch_bytes = 0;

    std::int64_t chunks() const { return (units + units_per_chunk - 1) / units_per_chunk; }
    std::int64_t slot_bytes() const { return (scratch_bytes + 63) / 64 * 64; }
};

// Input and output of more bytes than this do not stay in the cache: results are then written past it. With
// 32 MiB of third-level cache, Zen 4, one core, group_norm of (8, 256, 28, 28): 12.3 MiB take 300 us,
// streamed 350; its backward with 18.4 MiB 950, streamed 450.
constexpr std::int64_t stream_bytes = std::int64_t(16) << 20;

// The threads that the work is worth now.
int threads_for(const Work& work) noexcept;

// Asked by work that takes long, between its units, whether to go on. A thread has none unless it sets one,
// which returns the one before.
class Poll {
public:
    virtual bool goes_on() noexcept = 0;

protected:
    ~Poll() = default;
};
Poll* set_poll(Poll* poll) noexcept;

// Asks the poll of this thread, between kernels of which none takes long by itself; true where it has none.
bool goes_on() noexcept;

// Work of more than `long_nanoseconds` is done in slices of about `slice_nanoseconds`, after each of which
// the poll is asked: what a person at the keyboard takes for at once.
constexpr double long_nanoseconds = 1e8, slice_nanoseconds = 5e7;

// Calls body(begin, end, scratch) for ranges of units on at most that many threads, `memory` having a slot of
// scratch for each. False where the poll of this thread has stopped it.
using UnitsBody = void (*)(const void* context, std::int64_t begin, std::int64_t end, void* scratch);
bool share_out(const Work& work, int threads, void* memory, UnitsBody body, const void* context) noexcept;

template <class Body>
void call_body(const void* context, std::int64_t begin, std::int64_t end, void* scratch) {
    (*static_cast<const Body*>(context))(begin, end, scratch);
}
template <class Body>
bool share_out(const Work& work, int threads, void* memory, const Body& body) noexcept {
    return share_out(work, threads, memory, call_body<Body>, &body);
}

// The same with threads and memory found here. False, too, where there is no memory: nothing has run then.
bool run_units(const Work& work, UnitsBody body, const void* context) noexcept;

template <class Body>
bool run_units(const Work& work, const Body& body) noexcept {
    return run_units(work, call_body<Body>, &body);
}

// Runs a kernel.
template <class Task>
bool run(Kernel<Task> kernel, const Task& task, const Work& work) noexcept {
    return run_units(work, [&](std::int64_t begin, std::int64_t end, void* scratch) {
        kernel(task, begin, end, scratch);
    });
}

}  // namespace fastnorm
