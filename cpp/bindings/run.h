// Running what has been planned: without the GIL where it takes long, with MemoryError where there is no
// memory for it, and with Python's signal handlers where it takes very long.
#pragma once

#include "bindings/numpy.h"
#include "plan/run.h"

namespace fastnorm {

// Work that takes longer than this is done without the GIL: releasing and taking it again costs 0.1 us when
// nobody else wants it, and up to the interpreter's switch interval when somebody does.
constexpr double gil_nanoseconds = 20000;

// Finds the main thread: once, when the module is loaded; false with an error set.
bool prepare_runs();

// Takes the GIL again.
void take_gil(PyThreadState* state);

// MemoryError, unless what stopped a run has set an error.
void set_run_error();

class ReleasedGil {
public:
    explicit ReleasedGil(bool release) : state_(release ? PyEval_SaveThread() : nullptr) {}
    ~ReleasedGil() {
        if (state_) take_gil(state_);
    }
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;

private:
    PyThreadState* state_;
};

// Likewise for planned work, by the time it takes. Where that is long, signal handlers run between slices of
// it, and an error that one of them raises, as Ctrl-C does, stops it.
class PlannedWork : private Poll {
public:
    explicit PlannedWork(double nanoseconds) {
        if (nanoseconds > gil_nanoseconds) begin(nanoseconds);
    }
    ~PlannedWork() {
        if (state_) end();
    }
    PlannedWork(const PlannedWork&) = delete;
    PlannedWork& operator=(const PlannedWork&) = delete;

private:
    void begin(double nanoseconds);
    void end();
    bool goes_on() noexcept override;

    PyThreadState* state_ = nullptr;
    Poll* before_ = nullptr;
    bool polls_ = false;
};

// Calls body(), which takes one thread about `nanoseconds` and returns false where there is no memory or the
// work was stopped. False with an error set then.
template <class Body>
bool run_planned(double nanoseconds, const Body& body) {
    bool done;
    {
        const PlannedWork work(nanoseconds);
        done = body();
    }
    if (!done) set_run_error();
    return done;
}

// The same for one kernel.
template <class Task>
bool run_kernel(Kernel<Task> kernel, const Task& task, const Work& work) {
    return run_planned(work.nanoseconds, [&] { return run(kernel, task, work); });
}

}  // namespace fastnorm
