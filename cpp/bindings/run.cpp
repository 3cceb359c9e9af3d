#include "bindings/run.h"

#include <chrono>
#include <thread>

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
bool is_main_thread() {
    PyObject* const threading = PyImport_ImportModule("threading");
    PyObject* const main = threading ? PyObject_CallMethod(threading, "main_thread", nullptr) : nullptr;
    PyObject* const ident = main ? PyObject_GetAttrString(main, "ident") : nullptr;
    const bool is_main = ident && PyLong_AsUnsignedLong(ident) == PyThread_get_thread_ident();
    Py_XDECREF(ident);
    Py_XDECREF(main);
    Py_XDECREF(threading);
    PyErr_Clear();
    return is_main;
}

}  // namespace

void set_run_error() {
    if (!PyErr_Occurred()) PyErr_NoMemory();
}

void PlannedWork::begin(double nanoseconds) {
    polls_ = nanoseconds >= long_nanoseconds && is_main_thread();
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
    const bool goes_on = PyErr_CheckSignals() == 0;
    set_poll(this);
    state_ = PyEval_SaveThread();
    return goes_on;
}

}  // namespace fastnorm
