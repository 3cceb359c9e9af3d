// Rows of an array as contiguous memory: in place where they are contiguous, else packed a tile at a time.
//
// Kernels see contiguous rows only, so a result cannot depend on strides: whatever the layout, the same
// values go through the same arithmetic.
#pragma once

#include "kernels/loops/elements.h"
#include "simd/rows.h"

namespace fastnorm {
namespace FASTNORM_TARGET {

// Copies rows [first, first + count) of an operand, elements of `size` bytes, to packed memory if `pack`,
// else back; packed rows are `packed_step` bytes apart. One function for all families: see
// kernels/copies/move_rows.h.
void move_rows(
    const Rows& shape, const Operand& operand, int size, std::int64_t first, int count, char* packed,
    std::int64_t packed_step, bool pack
);

}  // namespace FASTNORM_TARGET
}  // namespace fastnorm

FASTNORM_TARGET_BEGIN

// A tile of rows of one operand. fetch() before reading it, write_back() after writing it.
template <class T>
class RowTile {
public:
    // Takes its packing space from `scratch` and moves it on; nothing is taken where rows are contiguous.
    FASTNORM_INLINE RowTile(const Rows& shape, const Operand& operand, char*& scratch)
        : shape_(shape), operand_(operand), packed_(reinterpret_cast<T*>(scratch)) {
        packed_step_ = packed_row_bytes(shape.cols, sizeof(T)) / std::int64_t(sizeof(T));
        if (!operand.contiguous) scratch += packed_bytes(shape, sizeof(T));
    }

    FASTNORM_INLINE void fetch(std::int64_t first, int count) {
        select(first);
        if (!operand_.contiguous) move(first, count, true);
    }
    FASTNORM_INLINE void select(std::int64_t first) { first_ = first; }
    FASTNORM_INLINE void write_back(std::int64_t first, int count) {
        if (!operand_.contiguous) move(first, count, false);
    }

    // Row i of the tile as contiguous memory.
    FASTNORM_INLINE T* row(int i) const {
        if (operand_.contiguous) return reinterpret_cast<T*>(address(first_ + i));
        return packed_ + i * packed_step_;
    }

private:
    FASTNORM_INLINE char* address(std::int64_t row) const {
        return operand_.data +
               strided_offset(row, shape_.outer_axes, shape_.outer_extent, operand_.outer_stride);
    }

    FASTNORM_INLINE void move(std::int64_t first, int count, bool pack) const {
        constexpr int size = int(sizeof(T));
        move_rows(
            shape_, operand_, size, first, count, reinterpret_cast<char*>(packed_), packed_step_ * size, pack
        );
    }

    const Rows& shape_;
    const Operand& operand_;
    T* packed_;
    std::int64_t packed_step_;
    std::int64_t first_ = 0;
};

// How many rows are taken from [first, end) before what is packed is written back: all, where nothing is.
FASTNORM_INLINE int rows_of_tile(std::int64_t first, std::int64_t end, bool packed) {
    return int(smaller(packed ? tile_rows : std::int64_t(1) << 30, end - first));
}

FASTNORM_TARGET_END
