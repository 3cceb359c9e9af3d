// Recycled blocks as memory that NumPy arrays own.
//
// NumPy frees and resizes the memory of an array through the functions that come with the array (its memory
// policy, NEP 49). So a large result behaves as a small one: it has no base, owns its data, and can be
// resized.
#pragma once

#include <cstddef>

#include "bindings/numpy.h"

namespace fastnorm {

// Bytes that a block has in front of the data of an array: at least, and at most.
constexpr std::size_t recycled_front = 64, recycled_front_limit = 4096;

struct RecycledMemory {
    char* data = nullptr;  // null where there is no memory
    bool warm = false;     // as in Block
};

// Memory for `bytes` bytes that begins `front` bytes after the beginning of a page. The size of the block
// does not depend on `front`.
RecycledMemory acquire_recycled(std::size_t bytes, std::size_t front) noexcept;
void release_recycled(char* data) noexcept;

// Makes the array the owner of `data`, over which it was made.
void own_recycled(PyArrayObject* array) noexcept;

// Prepares all this when the module is loaded; false with an error set.
bool register_recycled();

}  // namespace fastnorm
