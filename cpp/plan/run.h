// Running a kernel over its units: on how many threads, in what chunks, with scratch for each thread.
//
// All memory is taken before a kernel starts, and no kernel calls back: where there is none, nothing has run.
// Work that takes long is stopped between units, whose results do not depend on each other, if somebody asks.
#pragma once

#include <algorithm>
#include <atomic>
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

// Input and output of more bytes than this do not stay in the cache: results are then written past it.
constexpr std::int64_t stream_bytes = std::int64_t(8) << 20;

// One slot of scratch for each thread that may run at once; a range takes a free one while it runs.
class ScratchSlots {
public:
    static constexpr int most = 256;

    ScratchSlots(void* memory, std::int64_t slot_bytes)
        : memory_(static_cast<char*>(memory)), slot_bytes_(slot_bytes) {
        for (std::atomic<bool>& taken : taken_) taken.store(false, std::memory_order_relaxed);
    }
    int take() {
        int slot = 0;
        while (taken_[slot].exchange(true, std::memory_order_acquire)) slot = (slot + 1) % most;
        return slot;
    }
    void give_back(int slot) { taken_[slot].store(false, std::memory_order_release); }
    void* at(int slot) const { return memory_ + slot * slot_bytes_; }

private:
    char* memory_;
    std::int64_t slot_bytes_;
    std::atomic<bool> taken_[most];
};

// The threads that the work is worth now.
inline int threads_for(const Work& work) noexcept {
    if (work.units <= work.units_per_chunk) return 1;
    const std::int64_t worthwhile = worthwhile_threads(work.nanoseconds / 1000);
    return int(std::min<std::int64_t>({worthwhile, work.chunks(), ScratchSlots::most}));
}

// Asked by work that takes long, between its units, whether to go on. A thread has none unless it sets one,
// which returns the one before.
class Poll {
public:
    virtual bool goes_on() noexcept = 0;

protected:
    ~Poll() = default;
};
Poll* current_poll() noexcept;
Poll* set_poll(Poll* poll) noexcept;

// Work of more than `long_nanoseconds` is done in slices of about `slice_nanoseconds`, after each of which
// the poll is asked: what a person at the keyboard takes for at once.
constexpr double long_nanoseconds = 1e8, slice_nanoseconds = 5e7;

// The chunks of a slice, all where nobody asks.
inline std::int64_t chunks_per_slice(const Work& work, int threads) noexcept {
    if (work.nanoseconds < long_nanoseconds || !current_poll()) return work.chunks();
    const double slices = work.nanoseconds / threads / slice_nanoseconds;
    return std::max<std::int64_t>(threads, std::int64_t(double(work.chunks()) / slices));
}

// Calls body(begin, end, scratch) for ranges of units on at most that many threads, `memory` having a slot of
// scratch for each. False where the poll of this thread has stopped it.
template <class Body>
bool share_out(const Work& work, int threads, void* memory, const Body& body) noexcept {
    const std::int64_t step = work.units_per_chunk, chunks = work.chunks();
    const std::int64_t slice = chunks_per_slice(work, threads);
    if (threads <= 1 && slice >= chunks) {
        body(std::int64_t(0), work.units, memory);
        return true;
    }
    ScratchSlots slots(memory, work.slot_bytes());
    for (std::int64_t first = 0; first < chunks; first += slice) {
        if (first > 0 && !current_poll()->goes_on()) return false;
        const std::int64_t count = std::min(slice, chunks - first);
        parallel_for(std::size_t(count), threads, [&](std::size_t begin, std::size_t end) noexcept {
            const int slot = slots.take();
            const std::int64_t start = (first + std::int64_t(begin)) * step;
            const std::int64_t stop = std::min(work.units, (first + std::int64_t(end)) * step);
            body(start, stop, slots.at(slot));
            slots.give_back(slot);
        });
    }
    return true;
}

// Runs a kernel. False where there is no memory for scratch, and nothing has run, or where the poll of this
// thread has stopped it.
template <class Task>
bool run(Kernel<Task> kernel, const Task& task, const Work& work) noexcept {
    if (work.units <= 0) return true;
    const int threads = threads_for(work);
    const Buffer scratch(std::size_t(threads) * std::size_t(work.slot_bytes()));
    if (!scratch) return false;
    return share_out(work, threads, scratch.data(), [&](std::int64_t begin, std::int64_t end, void* slot) {
        kernel(task, begin, end, slot);
    });
}

}  // namespace fastnorm
