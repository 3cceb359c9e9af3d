// What a kernel is, and how a family's list of kernels (kernels/<family>/kernels.h) becomes its part of a
// target's table: a struct with a member for each kernel, and the function that fills it.
#pragma once

#include <cstdint>

#include "tasks/arrays.h"

namespace fastnorm {

// Units [begin, end) of a task; what a unit is, and how much scratch it needs, is said where the task is
// declared.
template <class Task>
using Kernel = void (*)(const Task& task, std::int64_t begin, std::int64_t end, void* scratch);

}  // namespace fastnorm

// The struct of a family: each kernel exists for every element type.
#define FASTNORM_TABLE(Table, KERNELS) \
    namespace fastnorm {               \
    struct Table {                     \
        KERNELS(FASTNORM_TABLE_MEMBER) \
    };                                 \
    }
#define FASTNORM_TABLE_MEMBER(name, Task) Kernel<Task> name[element_count]

// Enters the kernels of a family, templates of the current target, into its struct. The function that does so
// is all that leaves a family's object.
#define FASTNORM_FILL(Table, KERNELS)                         \
    namespace fastnorm {                                      \
    namespace FASTNORM_TARGET {                               \
    void fill(Table& table);                                  \
    void fill(Table& table) { KERNELS(FASTNORM_FILL_MEMBER) } \
    }                                                         \
    }
#define FASTNORM_FILL_MEMBER(name, Task)               \
    table.name[int(Element::float32)] = name<float>;   \
    table.name[int(Element::float64)] = name<double>;  \
    table.name[int(Element::float16)] = name<float16>; \
    table.name[int(Element::bfloat16)] = name<bfloat16>
