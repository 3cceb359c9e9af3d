// Which processors threads may run on: those of a caller, and where the workers of the pool go.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/cpu.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#endif

namespace fastnorm {

// The processors of the calling thread. Another program or the thread itself may change them at any time.
struct Affinity {
    unsigned count;
#if defined(__linux__)
    bool known;  // `set` holds them; it has no room for those of the very largest machines
    cpu_set_t set;

    friend bool operator==(const Affinity& a, const Affinity& b) {
        return a.known == b.known && (!a.known || CPU_EQUAL(&a.set, &b.set));
    }
#else
    friend bool operator==(const Affinity&, const Affinity&) { return true; }
#endif
};

inline Affinity read_affinity() noexcept {
    Affinity affinity;
#if defined(__linux__)
    affinity.known = sched_getaffinity(0, sizeof affinity.set, &affinity.set) == 0;
    if (affinity.known) affinity.count = static_cast<unsigned>(CPU_COUNT(&affinity.set));
    if (affinity.known && affinity.count > 0) return affinity;
    affinity.known = false;
#endif
    affinity.count = affinity_count();
    return affinity;
}

// What read_affinity() told this thread since the last tick of the kernel's timer, which come every 1 to 10
// ms: asking takes 0.3 us, more in some virtual machines, looking at the ticks 5 ns, and a job may be one of
// 5 us.
class RecentAffinity {
public:
    const Affinity& get() noexcept {
        const std::int64_t tick = current_tick();
        return read_ && tick == tick_ ? affinity_ : read(tick);
    }
    const Affinity& get_anew() noexcept { return read(current_tick()); }
    void forget() noexcept { read_ = false; }

private:
    static std::int64_t current_tick() noexcept {
#if defined(__linux__)
        timespec time;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
        return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
#else
        return 0;
#endif
    }
    const Affinity& read(std::int64_t tick) noexcept {
        affinity_ = read_affinity();
        tick_ = tick;
        read_ = true;
        return affinity_;
    }

    Affinity affinity_{};
    std::int64_t tick_ = 0;
    bool read_ = false;
};

// Where one worker may run: on the processors that it was given, and while it is woken, not on the one of the
// thread that wakes it.
//
// Linux may wake a thread on the waker's own processor, where it only gets in the way, when it last ran there
// and finds no idle neighbour; in a virtual machine, where a halted processor does not count as idle, that
// was seen to last for seconds with the second of two processors idle throughout. Changing the affinity of a
// sleeping thread moves nothing and is done only after the waker has changed processors.
class Placement {
public:
#if defined(__linux__)
    void here() noexcept {
        thread_.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_release);
    }

    void keep_off(int cpu) noexcept {
        const pid_t thread = thread_.load(std::memory_order_acquire);
        cpu_set_t now;
        if (cpu == avoided_ || cpu < 0 || cpu >= CPU_SETSIZE || thread == 0) return;
        if (sched_getaffinity(thread, sizeof now, &now) != 0) return;
        // Someone else's change of the affinity (taskset) is to stay.
        if (avoided_ < 0 || !CPU_EQUAL(&now, &ours_)) allowed_ = now;
        ours_ = allowed_;
        CPU_CLR(cpu, &ours_);
        if (CPU_COUNT(&ours_) == 0 || sched_setaffinity(thread, sizeof ours_, &ours_) != 0) return;
        avoided_ = cpu;
    }

    // Gives the worker these processors; false where it has not got as far as here() yet.
    bool give(const Affinity& affinity) noexcept {
        const pid_t thread = thread_.load(std::memory_order_acquire);
        if (thread == 0) return false;
        if (affinity.known && sched_setaffinity(thread, sizeof affinity.set, &affinity.set) == 0)
            avoided_ = -1;
        return true;
    }

    static int current_cpu() noexcept { return sched_getcpu(); }

private:
    std::atomic<pid_t> thread_{0};
    int avoided_ = -1;
    cpu_set_t allowed_;  // as found
    cpu_set_t ours_;     // as set here
#else
    void here() noexcept {}
    void keep_off(int) noexcept {}
    bool give(const Affinity&) noexcept { return true; }
    static int current_cpu() noexcept { return -1; }
#endif
};

}  // namespace fastnorm
