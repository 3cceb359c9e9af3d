#include "bindings/recycled.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/cache.h"

namespace fastnorm {

namespace {

// What lies in front of the data: NumPy tells the size of an array when it frees one, not that of the block.
struct Front {
    char* block;
    std::size_t block_bytes;
    std::size_t data_bytes;
};
static_assert(sizeof(Front) <= recycled_front);

Front& front_of(void* data) { return *reinterpret_cast<Front*>(static_cast<char*>(data) - sizeof(Front)); }

void* allocate(void*, std::size_t bytes) { return acquire_recycled(bytes, recycled_front).data; }

void* allocate_zeros(void*, std::size_t count, std::size_t bytes) {
    if (bytes != 0 && count > std::numeric_limits<std::size_t>::max() / bytes) return nullptr;
    void* data = allocate(nullptr, count * bytes);
    if (data) std::memset(data, 0, count * bytes);
    return data;
}

void release(void*, void* data, std::size_t) {
    if (data) release_recycled(static_cast<char*>(data));
}

void* reallocate(void*, void* data, std::size_t bytes) {
    if (!data) return allocate(nullptr, bytes);
    Front& front = front_of(data);
    const std::size_t room = block_bytes(front.block_bytes) - recycled_front_limit;
    if (bytes <= room && bytes > room / 2) {
        front.data_bytes = bytes;
        return data;
    }
    void* moved = allocate(nullptr, bytes);
    if (!moved) return nullptr;
    std::memcpy(moved, data, std::min(bytes, front.data_bytes));
    release(nullptr, data, 0);
    return moved;
}

PyDataMem_Handler policy = {"fastnorm_recycled", 1, {nullptr, allocate, allocate_zeros, reallocate, release}};
PyObject* policy_capsule = nullptr;

}  // namespace

RecycledMemory acquire_recycled(std::size_t bytes, std::size_t front) noexcept {
    if (bytes > std::numeric_limits<std::size_t>::max() - recycled_front_limit) return {};
    const std::size_t size = bytes + recycled_front_limit;
    const Block block = acquire_block(size);
    if (!block.data) return {};
    char* data = static_cast<char*>(block.data) + front;
    front_of(data) = {static_cast<char*>(block.data), size, bytes};
    return {data, block.warm};
}

void release_recycled(char* data) noexcept {
    const Front front = front_of(data);
    release_block(front.block, front.block_bytes);
}

void own_recycled(PyArrayObject* array) noexcept {
    reinterpret_cast<PyArrayObject_fields*>(array)->mem_handler = Py_NewRef(policy_capsule);
    PyArray_ENABLEFLAGS(array, NPY_ARRAY_OWNDATA);
}

bool register_recycled() {
    policy_capsule = PyCapsule_New(&policy, "mem_handler", nullptr);
    return policy_capsule != nullptr;
}

}  // namespace fastnorm
