// A weight in panels, packed once for many products.
#pragma once

#include <memory>

#include "plan/run.h"
#include "plan/view.h"
#include "targets/kernel_table.h"

namespace fastnorm {

// Immutable once packed. The panels are those of the target that ran then; where a test has changed it since,
// only unpack() may be called.
class PackedWeight {
public:
    // Takes memory for a weight of this type and shape. False where there is none.
    bool reserve(Element element, std::int64_t rows, std::int64_t cols) noexcept;

    // What packing takes one thread; unpacking as long.
    double nanoseconds() const;

    // Copies a weight of that type and shape from or to memory with these strides in bytes. False where the
    // poll has stopped it.
    bool pack(const char* weight, std::int64_t row_stride, std::int64_t col_stride) noexcept;
    bool unpack(char* weight, std::int64_t row_stride, std::int64_t col_stride) const noexcept;

    bool is_current() const;
    Element element() const { return element_; }
    const std::ptrdiff_t* shape() const { return shape_; }
    void* panels() const { return memory_->data(); }
    std::int64_t bytes() const;

private:
    bool run_blocks(
        Kernel<WeightPanels> kernel, char* weight, std::int64_t row_stride, std::int64_t col_stride
    ) const noexcept;

    Element element_ = Element::float32;
    std::ptrdiff_t shape_[2] = {0, 0};
    const KernelTable* kernels_ = nullptr;
    std::unique_ptr<Buffer> memory_;
};

}  // namespace fastnorm
