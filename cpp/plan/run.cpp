#include "plan/run.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace fastnorm {

namespace {

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

thread_local Poll* poll_of_thread = nullptr;

// The chunks of a slice, all where nobody asks.
std::int64_t chunks_per_slice(const Work& work, int threads) {
    if (work.nanoseconds < long_nanoseconds || !poll_of_thread) return work.chunks();
    const double slices = work.nanoseconds / threads / slice_nanoseconds;
    return std::max<std::int64_t>(threads, std::int64_t(double(work.chunks()) / slices));
}

}  // namespace

Poll* set_poll(Poll* poll) noexcept { return std::exchange(poll_of_thread, poll); }

bool goes_on() noexcept { return !poll_of_thread || poll_of_thread->goes_on(); }

int threads_for(const Work& work) noexcept {
    if (work.units <= work.units_per_chunk) return 1;
    const std::int64_t worthwhile = worthwhile_threads(work.nanoseconds / 1000);
    return int(std::min<std::int64_t>({worthwhile, work.chunks(), ScratchSlots::most}));
}

bool share_out(const Work& work, int threads, void* memory, UnitsBody body, const void* context) noexcept {
    if (threads <= 1 && work.nanoseconds < long_nanoseconds) {
        body(context, 0, work.units, memory);
        return true;
    }
    const std::int64_t step = work.units_per_chunk, chunks = work.chunks();
    const std::int64_t slice = chunks_per_slice(work, threads);
    ScratchSlots slots(memory, work.slot_bytes());
    for (std::int64_t first = 0; first < chunks; first += slice) {
        if (first > 0 && !poll_of_thread->goes_on()) return false;
        const std::int64_t count = std::min(slice, chunks - first);
        parallel_for(std::size_t(count), threads, [&](std::size_t begin, std::size_t end) noexcept {
            const int slot = slots.take();
            const std::int64_t start = (first + std::int64_t(begin)) * step;
            const std::int64_t stop = std::min(work.units, (first + std::int64_t(end)) * step);
            body(context, start, stop, slots.at(slot));
            slots.give_back(slot);
        });
    }
    return true;
}

bool run_units(const Work& work, UnitsBody body, const void* context) noexcept {
    if (work.units <= 0) return true;
    const int threads = threads_for(work);
    const Buffer scratch(std::size_t(threads) * std::size_t(work.slot_bytes()));
    return scratch && share_out(work, threads, scratch.data(), body, context);
}

}  // namespace fastnorm
