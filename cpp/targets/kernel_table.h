// The kernels of one target as its callers see them.
#pragma once

#include "kernels/families.h"

namespace fastnorm {

struct NoKernels {};  // ends the list

#define FASTNORM_BASE(Table) Table,
struct KernelTable : FASTNORM_FAMILIES(FASTNORM_BASE) NoKernels {};
#undef FASTNORM_BASE

}  // namespace fastnorm

// Defines <target>::kernel_table(), the table of a target, from the objects of its families.
#define FASTNORM_TARGET_TABLE(target)             \
    namespace fastnorm {                          \
    namespace target {                            \
    FASTNORM_FAMILIES(FASTNORM_DECLARE_FILL)      \
    inline const KernelTable& kernel_table() {    \
        static const KernelTable complete = [] {  \
            KernelTable table = {};               \
            FASTNORM_FAMILIES(FASTNORM_CALL_FILL) \
            return table;                         \
        }();                                      \
        return complete;                          \
    }                                             \
    }                                             \
    }
#define FASTNORM_DECLARE_FILL(Table) void fill(Table& table);
#define FASTNORM_CALL_FILL(Table) fill(static_cast<Table&>(table));
