// Rows of a table by their numbers, which are moved and not computed with, so that no kernel does it; and
// positions as rotations.
#pragma once

#include "plan/rows.h"
#include "plan/run.h"
#include "tasks/embeddings.h"

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

// Places x, y and the contiguous tables of cosines and sines in the task, all of the same leading axes but
// that those of the tables may be absent or of length 1; the last axis of the tables are the pairs. `warm`: y
// may be written past the cache.
Work plan_rotation(
    Rotation& task, Geometry& geometry, const View& x, const View& cosines, const View& sines, const View& y,
    bool warm
);

}  // namespace fastnorm
