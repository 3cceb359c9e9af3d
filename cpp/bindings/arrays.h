// Arrays as the kernels take them: geometry, new results, parameters in the compute type, and running over
// threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "bindings/arguments.h"
#include "runtime/pool.h"

namespace fastnorm {

// Rows and operands over a few arrays of one shape, with the storage their axes need. Not initialised beyond
// what is used: a call on 64 numbers must not clear kilobytes.
class Geometry {
public:
    static constexpr int max_operands = 6;

    Rows rows;
    Operand operands[max_operands];

    // Rows of a norm: `axes` are the columns, all other axes the rows, both in C order.
    void set_norm(const Array* arrays, int count, const Axes& axes);

    // Rows of an element-wise op: the axes in the order that walks memory best, merged as far as they go.
    void set_elementwise(const Array* arrays, int count);

    // Rows are the axes before `first_column`, columns those from there on, both in C order.
    void set_leading(const Array* arrays, int count, int first_column);

    // Channels in groups of `group_channels` neighbours: rows are (place in the group, sample, group),
    // columns all other axes. The samples are the first axis, unless that is the channels'.
    void set_channel_groups(const Array* arrays, int count, int axis, std::int64_t group_channels);

    bool all_contiguous(int count) const;

private:
    struct AxisList {
        int count;
        std::int64_t extent[NPY_MAXDIMS];
        std::int64_t stride[max_operands][NPY_MAXDIMS];

        void append(const Array* arrays, int operand_count, int axis);
        // An axis of any length whose steps are `times` those of `axis`.
        void append_steps(const Array* arrays, int operand_count, int axis, npy_intp length, npy_intp times);
        void finish(int operand_count);  // at least one axis
    };

    void use(const Array* arrays, int count);
    void use_contiguous(const Array* arrays, int count, std::int64_t row_count, std::int64_t col_count);

    AxisList outer_, inner_;
};

// A new array like x (same shape, type and order of axes in memory), empty with an error set where there is
// no memory. Large ones come from the cache of results; `warm` tells that their pages have been used before,
// so that they may be written past the cache.
struct NewArray {
    Reference array;
    bool warm = false;
};
NewArray new_like(const Array& x);
// The same with axes of other lengths.
NewArray new_like(const Array& x, const npy_intp* shape);

// A new contiguous array; of the statistics' shape (x without the normalised axes); of the parameters' shape.
Reference new_array(int ndim, const npy_intp* shape, int type_number);
Reference new_statistic(const Array& x, const Axes& axes);
Reference new_parameter_gradient(const Array& x, const Axes& axes);

// weight or bias as a contiguous array of the compute type, the array itself where it is one. An empty
// reference with no error set where it is None; `canonical` false where it does not fit.
struct Parameter {
    Reference array;
    bool canonical = true;
    bool failed = false;

    const void* data() const { return array ? PyArray_DATA(array.array()) : nullptr; }
};
Parameter as_parameter(PyObject* slot, const Array& x, const Axes& axes);

// Likewise a vector of a length.
Parameter as_vector(PyObject* slot, const Array& x, npy_intp length);

// A statistic given to a backward, likewise.
Parameter as_statistic(PyObject* slot, const Array& x, const Axes& axes);

// Memory of one call: on the stack of the call while small.
class Buffer {
public:
    explicit Buffer(std::size_t bytes);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* data() const { return data_; }
    explicit operator bool() const { return data_ != nullptr; }

private:
    static constexpr std::size_t inline_bytes = 4096;
    std::size_t bytes_;
    void* data_;
    enum class Origin { inside, heap, cache } origin_;
    alignas(64) char inside_[inline_bytes];
};

// Work that takes longer than this is done without the GIL: releasing and taking it again costs 0.1 us when
// nobody else wants it, and up to the interpreter's switch interval when somebody does.
constexpr double gil_microseconds = 20;

// Input and output of more bytes than this do not stay in the cache: results are then written past it.
constexpr std::int64_t stream_bytes = std::int64_t(8) << 20;

class ReleasedGil {
public:
    explicit ReleasedGil(bool release) : state_(release ? PyEval_SaveThread() : nullptr) {}
    ~ReleasedGil() {
        if (state_) restore(state_);
    }
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;

private:
    static void restore(PyThreadState* state);

    PyThreadState* state_;
};

// One slot of scratch for each thread that may run at once; a range takes a free one while it runs.
class ScratchSlots {
public:
    static constexpr int most = 256;

    ScratchSlots(char* memory, std::size_t slot_bytes) : memory_(memory), slot_bytes_(slot_bytes) {
        for (std::atomic<bool>& taken : taken_) taken.store(false, std::memory_order_relaxed);
    }
    int take() {
        int slot = 0;
        while (taken_[slot].exchange(true, std::memory_order_acquire)) slot = (slot + 1) % most;
        return slot;
    }
    void give_back(int slot) { taken_[slot].store(false, std::memory_order_release); }
    char* at(int slot) const { return memory_ + std::size_t(slot) * slot_bytes_; }

private:
    char* memory_;
    std::size_t slot_bytes_;
    std::atomic<bool> taken_[most];
};

// Calls kernel(task, begin, end, scratch) over units [0, units) of `task`, on as many threads as the work is
// worth: it takes one thread about `nanoseconds`. Threads take chunks of `units_per_chunk`; `scratch_bytes`
// are for each thread. False with MemoryError set where there is no memory for scratch.
template <class Task>
bool run_kernel(
    void (*kernel)(const Task&, std::int64_t, std::int64_t, void*), const Task& task, std::int64_t units,
    std::int64_t units_per_chunk, double nanoseconds, std::size_t scratch_bytes
) {
    if (units <= 0) return true;
    const double microseconds = nanoseconds / 1000;
    const std::int64_t chunks = (units + units_per_chunk - 1) / units_per_chunk;
    const int threads =
        chunks > 1
            ? int(std::min<std::int64_t>({worthwhile_threads(microseconds), chunks, ScratchSlots::most}))
            : 1;
    const std::size_t slot_bytes = (scratch_bytes + 63) / 64 * 64;
    Buffer scratch(std::size_t(threads) * slot_bytes);
    if (!scratch) {
        PyErr_NoMemory();
        return false;
    }
    const ReleasedGil released(microseconds > gil_microseconds);
    if (threads == 1) {
        kernel(task, 0, units, scratch.data());
        return true;
    }
    ScratchSlots slots(static_cast<char*>(scratch.data()), slot_bytes);
    parallel_for(std::size_t(chunks), threads, [&](std::size_t begin, std::size_t end) noexcept {
        const int slot = slots.take();
        kernel(
            task, std::int64_t(begin) * units_per_chunk, std::min(units, std::int64_t(end) * units_per_chunk),
            slots.at(slot)
        );
        slots.give_back(slot);
    });
    return true;
}

}  // namespace fastnorm
