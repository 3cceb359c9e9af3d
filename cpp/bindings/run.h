// Running what has been planned: without the GIL where it takes long, with MemoryError where there is no memory
// for it, and with Python's signal handlers where it takes very long.
#pragma once

#include "bindings/numpy.h"
#include "plan/run.h"

namespace fastnorm {

// Work that takes longer than this is done without the GIL: releasing and taking it again costs 0.1 us when
// nobody else wants it, and up to the interpreter's switch interval when somebody does.
constexpr double gil_nanoseconds = 20000;

class ReleasedGil {
public:
    explicit ReleasedGil(bool release) : state_(release ? PyEval_SaveThread() : nullptr) {}
    ~ReleasedGil() {
        if (state_) restore(state_);
    }
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;

protected:
    static void restore(PyThreadState* state);

    PyThreadState* state_;
};

// Likewise for work that takes long: between its slices signal handlers run, and an error that one of them
// raises, as Ctrl-C does, stops the work.
class InterruptibleWork : public ReleasedGil, private Poll {
public:
    InterruptibleWork();
    ~InterruptibleWork();

private:
    bool goes_on() noexcept override;

    Poll* const before_;
};

// Calls body(), which takes one thread about `nanoseconds` and returns false where there is no memory or the
// work was stopped. False with an error set then.
template <class Body>
bool run_planned(double nanoseconds, const Body& body) {
    bool done;
    if (nanoseconds < long_nanoseconds) {
        const ReleasedGil released(nanoseconds > gil_nanoseconds);
        done = body();
    } else {
        const InterruptibleWork released;
        done = body();
    }
    if (!done && !PyErr_Occurred()) PyErr_NoMemory();
    return done;
}

// The same for one kernel.
template <class Task>
bool run_kernel(Kernel<Task> kernel, const Task& task, const Work& work) {
    return run_planned(work.nanoseconds, [&] { return run(kernel, task, work); });
}

}  // namespace fastnorm
