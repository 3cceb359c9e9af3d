// Rows of a table by their numbers. They are moved and not computed with, so no kernel does it.
#pragma once

#include "plan/run.h"
#include "plan/view.h"

namespace fastnorm {

// y[i] = table[ids[i]]: y is contiguous, the table lies anyhow. Ids have been found to be rows of it; where
// another thread has changed one since, any row is taken.
struct Gather {
    View table;  // rows x dim
    const std::int64_t* ids;
    std::int64_t count;
    char* y;
};
Work gather_work(const Gather& gather);
bool run_gather(const Gather& gather, const Work& work) noexcept;

}  // namespace fastnorm
