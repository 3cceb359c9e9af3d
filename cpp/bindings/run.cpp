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

}  // namespace fastnorm
