// Arrays as the rows and columns of kernels, and how rows are shared out.
#pragma once

#include <cstdint>

#include "plan/view.h"

namespace fastnorm {

// Rows and operands over a few arrays of one shape, with the storage their axes need. Not initialised beyond
// what is used: a call on 64 numbers must not clear kilobytes.
class Geometry {
public:
    static constexpr int max_operands = 6;

    Geometry() = default;
    Geometry(const Geometry&) = delete;
    Geometry& operator=(const Geometry&) = delete;

    Rows rows;
    Operand operands[max_operands];

    // Rows of a norm: `axes` are the columns, all other axes the rows, both in C order.
    void set_norm(const View* const* arrays, int count, const Axes& axes);

    // Rows of an element-wise op: the axes in the order that walks memory best, merged as far as they go.
    void set_elementwise(const View* const* arrays, int count);

    // Rows are the axes before `first_column`, columns those from there on, both in C order.
    void set_leading(const View* const* arrays, int count, int first_column);

    // Rows are the first `row_axes` of the axes in that order, columns the others.
    void set_order(const View* const* arrays, int count, const int* axes, int row_axes);

    // Channels in groups of `group_channels` neighbours: rows are (sample, group, place in the group),
    // columns all other axes. The samples are the first axis, unless that is the channels'.
    void set_channel_groups(const View* const* arrays, int count, int axis, std::int64_t group_channels);

    bool all_contiguous(int count) const;

private:
    struct AxisList {
        int count;
        std::int64_t extent[max_axes];
        std::int64_t stride[max_operands][max_axes];

        void append(const View* const* arrays, int operand_count, int axis);
        // An axis of any length whose steps are `times` those of `axis`.
        void append_steps(
            const View* const* arrays, int operand_count, int axis, std::int64_t length, std::int64_t times
        );
        void finish(int operand_count);  // at least one axis
    };

    void use(const View* const* arrays, int count);
    void use_contiguous(const View* const* arrays, int count, std::int64_t row_count, std::int64_t col_count);

    AxisList outer_, inner_;
};

// Chunks of whole tiles, or single rows where there are few: enough to share out evenly, of 16 KiB at least.
std::int64_t rows_per_chunk(const Rows& rows, std::int64_t size);

// Rows that one partial sum of a parameter gradient covers: at most 128 partials, of at least 64 rows. It
// depends on the number of rows alone, so that the order of addition does.
std::int64_t rows_per_block(std::int64_t rows);

// Scratch that packing the operands that are not contiguous takes, `size` being that of their elements.
std::int64_t packing_bytes(const Geometry& geometry, int operands, std::int64_t size);

}  // namespace fastnorm
