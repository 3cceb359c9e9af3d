#include "bindings/run.h"

#include <atomic>
#include <chrono>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "bindings/arguments.h"

namespace fastnorm {

// When the interpreter shuts down, Python before 3.14 ends a daemon thread that asks for the GIL by unwinding
// its stack. The destructors on the way would drop references without the GIL, so the thread stops here until
// the process ends, as newer versions make it.
void take_gil(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

namespace {

// Signal handlers run in the main thread alone: others would take the GIL for nothing.
std::atomic<unsigned long> main_thread{0};

#if defined(__unix__) || defined(__APPLE__)
// The thread that forks is the main thread of the child.
void begin_child() { main_thread.store(PyThread_get_thread_ident(), std::memory_order_relaxed); }
#endif

// Polls of this thread that run handlers, each in a call that a handler of the one before has made: a handler
// may take longer than the timer that calls it.
thread_local int polls_at_work = 0;
constexpr int most_polls_at_work = 8;

}  // namespace

bool prepare_runs() {
    const Reference threading(PyImport_ImportModule("threading"));
    const Reference main(threading ? PyObject_CallMethod(threading.get(), "main_thread", nullptr) : nullptr);
    const Reference ident(main ? PyObject_GetAttrString(main.get(), "ident") : nullptr);
    if (!ident) return false;
    main_thread.store(PyLong_AsUnsignedLong(ident.get()), std::memory_order_relaxed);
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, begin_child);
#endif
    return !PyErr_Occurred();
}

void set_run_error() {
    if (!PyErr_Occurred()) PyErr_NoMemory();
}

void PlannedWork::begin(double nanoseconds) {
    polls_ = nanoseconds >= long_nanoseconds && polls_at_work < most_polls_at_work &&
             main_thread.load(std::memory_order_relaxed) == PyThread_get_thread_ident();
    if (polls_) before_ = set_poll(this);
    state_ = PyEval_SaveThread();
}

void PlannedWork::end() {
    take_gil(state_);
    if (polls_) set_poll(before_);
}

bool PlannedWork::goes_on() noexcept {
    take_gil(state_);
    set_poll(nullptr);  // a handler may call ops of its own
    ++polls_at_work;
    const bool goes_on = PyErr_CheckSignals() == 0;
    --polls_at_work;
    set_poll(this);
    state_ = PyEval_SaveThread();
    return goes_on;
}

}  // namespace fastnorm
