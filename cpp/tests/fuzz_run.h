// How the ops of the fuzz target run.
#pragma once

#include "fuzz_source.h"
#include "plan/run.h"
#include "runtime/dispatch.h"

namespace {

constexpr double eps = 1e-5;

// Runs a kernel, on threads where the layout is not plain however little there is to do.
template <class Task>
void run_on_threads(Run& run, Kernel<Task> kernel, const Task& task, Work work) {
    if (!run.plain) work.nanoseconds = 1e9;
    if (!fastnorm::run(kernel, task, work)) fail("no memory for scratch");
}

void expect(bool done) {
    if (!done) fail("no memory for scratch");
}

// An array of one axis as parameters are: contiguous, of the compute type.
FuzzArray parameter(Run& run, std::int64_t count, Element element, bool filled = true) {
    Run straight{Source(nullptr, 0), true};
    straight.arrays = run.arrays;
    FuzzArray array(straight, {count}, compute_element(element), filled);
    run.arrays = straight.arrays;
    return array;
}
FuzzArray like(Run& run, const FuzzArray& array, Element element) {
    return FuzzArray(run, array.shape(), element, false);
}

}  // namespace
