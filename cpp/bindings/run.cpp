#include "bindings/run.h"

#include <chrono>
#include <thread>

namespace fastnorm {

// When the interpreter shuts down, Python before 3.14 ends a daemon thread that asks for the GIL by unwinding
// its stack. The destructors on the way would drop references without the GIL, so the thread stops here until
// the process ends, as newer versions make it.
void ReleasedGil::restore(PyThreadState* state) {
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

InterruptibleWork::InterruptibleWork()
    : ReleasedGil(false), before_(set_poll(is_main_thread() ? this : nullptr)) {
    state_ = PyEval_SaveThread();
}

InterruptibleWork::~InterruptibleWork() { set_poll(before_); }

bool InterruptibleWork::goes_on() noexcept {
    restore(state_);
    // A handler may call ops of its own.
    set_poll(nullptr);
    const bool goes_on = PyErr_CheckSignals() == 0;
    set_poll(this);
    state_ = PyEval_SaveThread();
    return goes_on;
}

}  // namespace fastnorm
