#include "plan/rows.h"

#include <algorithm>
#include <cstdlib>

namespace fastnorm {

void Geometry::AxisList::append(const View* const* arrays, int operand_count, int axis) {
    append_steps(arrays, operand_count, axis, arrays[0]->shape[axis], 1);
}

// Appends one axis, or lengthens the last one where every array walks over both in equal steps.
void Geometry::AxisList::append_steps(
    const View* const* arrays, int operand_count, int axis, std::int64_t length, std::int64_t times
) {
    if (length == 1) return;
    bool merges = count > 0;
    for (int k = 0; k < operand_count && merges; ++k) {
        merges = stride[k][count - 1] == length * times * arrays[k]->strides[axis];
    }
    if (merges) {
        extent[count - 1] *= length;
    } else {
        extent[count++] = length;
    }
    for (int k = 0; k < operand_count; ++k) stride[k][count - 1] = times * arrays[k]->strides[axis];
}

void Geometry::AxisList::finish(int operand_count) {
    if (count > 0) return;
    count = 1;
    extent[0] = 1;
    for (int k = 0; k < operand_count; ++k) stride[k][0] = 0;
}

// Points rows and operands at the axis lists. Rows count as contiguous where their elements are neighbours
// and aligned.
void Geometry::use(const View* const* arrays, int count) {
    rows.packed_rows = std::min<std::int64_t>(rows.rows, tile_rows);
    rows.outer_axes = outer_.count;
    rows.inner_axes = inner_.count;
    rows.outer_extent = outer_.extent;
    rows.inner_extent = inner_.extent;
    for (int k = 0; k < count; ++k) {
        const std::int64_t size = item_size(arrays[k]->element);
        bool contiguous = inner_.count == 1 && (inner_.stride[k][0] == size || inner_.extent[0] <= 1);
        std::uintptr_t places = reinterpret_cast<std::uintptr_t>(arrays[k]->data);
        for (int i = 0; i < outer_.count; ++i) places |= std::uintptr_t(outer_.stride[k][i]);
        contiguous = contiguous && are_multiples(places, size);
        operands[k] = {arrays[k]->data, outer_.stride[k], inner_.stride[k], contiguous};
    }
}

void Geometry::use_contiguous(
    const View* const* arrays, int count, std::int64_t row_count, std::int64_t col_count
) {
    outer_.count = inner_.count = 1;
    outer_.extent[0] = row_count;
    inner_.extent[0] = col_count;
    for (int k = 0; k < count; ++k) {
        inner_.stride[k][0] = item_size(arrays[k]->element);
        outer_.stride[k][0] = col_count * inner_.stride[k][0];
    }
    use(arrays, count);
}

void Geometry::set_norm(const View* const* arrays, int count, const Axes& axes) {
    const View& x = *arrays[0];
    rows.rows = rows.cols = 1;
    bool contiguous =
        axes.count == 0 || axes.axis[0] == x.ndim - axes.count;  // the axes are the trailing ones
    for (int i = 0; i < x.ndim; ++i) (axes.contains(i) ? rows.cols : rows.rows) *= x.shape[i];
    for (int k = 0; k < count; ++k) contiguous = contiguous && arrays[k]->contiguous;
    if (contiguous) return use_contiguous(arrays, count, rows.rows, rows.cols);
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim; ++i) (axes.contains(i) ? inner_ : outer_).append(arrays, count, i);
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_leading(const View* const* arrays, int count, int first_column) {
    const View& x = *arrays[0];
    rows.rows = rows.cols = 1;
    bool contiguous = true;
    for (int i = 0; i < x.ndim; ++i) (i < first_column ? rows.rows : rows.cols) *= x.shape[i];
    for (int k = 0; k < count; ++k) contiguous = contiguous && arrays[k]->contiguous;
    if (contiguous) return use_contiguous(arrays, count, rows.rows, rows.cols);
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim; ++i) (i < first_column ? outer_ : inner_).append(arrays, count, i);
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_order(const View* const* arrays, int count, const int* axes, int row_axes) {
    const View& x = *arrays[0];
    rows.rows = rows.cols = 1;
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim; ++i) {
        (i < row_axes ? rows.rows : rows.cols) *= x.shape[axes[i]];
        (i < row_axes ? outer_ : inner_).append(arrays, count, axes[i]);
    }
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_channel_groups(
    const View* const* arrays, int count, int axis, std::int64_t group_channels
) {
    const View& x = *arrays[0];
    rows.rows = x.shape[axis];
    rows.cols = 1;
    outer_.count = inner_.count = 0;
    for (int i = 0; i < x.ndim; ++i) {
        if (i == axis) {
            const std::int64_t groups = group_channels > 0 ? x.shape[axis] / group_channels : 0;
            outer_.append_steps(arrays, count, axis, groups, group_channels);
        } else if (i == 0) {
            rows.rows *= x.shape[i];
            outer_.append(arrays, count, i);
        } else {
            rows.cols *= x.shape[i];
            inner_.append(arrays, count, i);
        }
    }
    outer_.append_steps(arrays, count, axis, group_channels, 1);
    outer_.finish(count);
    inner_.finish(count);
    use(arrays, count);
}

void Geometry::set_elementwise(const View* const* arrays, int count) {
    const View& x = *arrays[0];
    rows.rows = 1;
    rows.cols = x.size();
    bool contiguous = true;
    for (int k = 0; k < count; ++k) contiguous = contiguous && arrays[k]->contiguous;
    if (contiguous) return use_contiguous(arrays, count, 1, rows.cols);

    // Axes by the steps of the result, the longest first: the last axis is then the one to run along.
    int order[max_axes];
    const std::ptrdiff_t* steps = arrays[count - 1]->strides;
    for (int i = 0; i < x.ndim; ++i) {
        int place = i;
        for (; place > 0 && std::abs(steps[order[place - 1]]) < std::abs(steps[i]); --place)
            order[place] = order[place - 1];
        order[place] = i;
    }
    AxisList all;
    all.count = 0;
    for (int i = 0; i < x.ndim; ++i) all.append(arrays, count, order[i]);
    all.finish(count);
    const int last = all.count - 1;
    outer_.count = inner_.count = 0;
    for (int i = 0; i <= last; ++i) {
        AxisList& list = i == last ? inner_ : outer_;
        list.extent[list.count] = all.extent[i];
        for (int k = 0; k < count; ++k) list.stride[k][list.count] = all.stride[k][i];
        ++list.count;
    }
    outer_.finish(count);
    rows.cols = inner_.extent[0];
    rows.rows = rows.cols == 0 ? 0 : x.size() / rows.cols;
    use(arrays, count);
}

bool Geometry::all_contiguous(int count) const {
    for (int k = 0; k < count; ++k) {
        if (!operands[k].contiguous) return false;
    }
    return true;
}

std::int64_t rows_per_chunk(const Rows& rows, std::int64_t size) {
    const std::int64_t in_16_kib = 16384 / std::max<std::int64_t>(rows.cols * size, 1) + 1;
    if (rows.rows < 8 * tile_rows) return in_16_kib;
    return (in_16_kib + tile_rows - 1) / tile_rows * tile_rows;
}

std::int64_t rows_per_block(std::int64_t rows) {
    const std::int64_t least = (rows + 127) / 128;
    return std::max<std::int64_t>(64, (least + 31) / 32 * 32);
}

std::int64_t packing_bytes(const Geometry& geometry, int operands, std::int64_t size) {
    std::int64_t bytes = 0;
    for (int k = 0; k < operands; ++k) {
        if (!geometry.operands[k].contiguous) bytes += packed_bytes(geometry.rows, size);
    }
    return bytes;
}

}  // namespace fastnorm
