// Arrays as rows and columns, element-wise walks, and how rows are shared out.
#include "check.h"
#include "plan/elementwise.h"
#include "plan/rows.h"
#include "views.h"

#include <set>

namespace {

// Where an operand has the element of a row and a column, as the kernels find it.
const char* address(const Rows& rows, const Operand& operand, std::int64_t row, std::int64_t col) {
    const char* at = operand.data;
    for (int i = rows.outer_axes; i-- > 0; row /= rows.outer_extent[i])
        at += row % rows.outer_extent[i] * operand.outer_stride[i];
    for (int i = rows.inner_axes; i-- > 0; col /= rows.inner_extent[i])
        at += col % rows.inner_extent[i] * operand.inner_stride[i];
    return at;
}

// The number in C order of the element that has `outer` among the axes of `first` and `inner` among those of
// `second`, both in C order.
std::int64_t number_of(
    const View& view, const Axes& first, const Axes& second, std::int64_t outer, std::int64_t inner
) {
    std::int64_t index[max_axes] = {};
    for (int i = first.count; i-- > 0; outer /= view.shape[first.axis[i]])
        index[first.axis[i]] = outer % view.shape[first.axis[i]];
    for (int i = second.count; i-- > 0; inner /= view.shape[second.axis[i]])
        index[second.axis[i]] = inner % view.shape[second.axis[i]];
    std::int64_t number = 0;
    for (int i = 0; i < view.ndim; ++i) number = number * view.shape[i] + index[i];
    return number;
}

// Whether the elements of every row are neighbours in memory.
bool are_neighbours(const Rows& rows, const Operand& operand, std::int64_t size) {
    bool neighbours = true;
    for (std::int64_t r = 0; r < rows.rows; ++r) {
        const char* const first = address(rows, operand, r, 0);
        for (std::int64_t c = 0; c < rows.cols; ++c)
            neighbours = neighbours && address(rows, operand, r, c) == first + c * size;
    }
    return neighbours;
}

constexpr Walk walks[] = {Walk::c_order, Walk::reversed_axes, Walk::spread, Walk::backwards};

// Rows are all other axes than `columns`, whatever the order in memory; so for two arrays at once.
void test_norm_rows() {
    const Axes choices[] = {axes_of({3}),    axes_of({1}),          axes_of({0}),
                            axes_of({1, 3}), axes_of({0, 1, 2, 3}), axes_of({2, 3})};
    for (const Walk walk : walks) {
        for (const Walk other : walks) {
            const TestView x({2, 3, 1, 5}, Element::float32, walk), y({2, 3, 1, 5}, Element::float64, other);
            const View first_view = x, second_view = y;
            const View* const views[] = {&first_view, &second_view};
            for (const Axes& columns : choices) {
                const Axes rest = other_axes(columns, 4);
                Geometry geometry;
                geometry.set_norm(views, 2, columns);
                const Rows& rows = geometry.rows;
                CHECK(rows.rows * rows.cols == 30);
                const Operand& first = geometry.operands[0];
                const Operand& second = geometry.operands[1];
                CHECK(!first.contiguous || are_neighbours(rows, first, 4));
                CHECK(!second.contiguous || are_neighbours(rows, second, 8));
                bool same = true;
                for (std::int64_t r = 0; r < rows.rows; ++r) {
                    for (std::int64_t c = 0; c < rows.cols; ++c) {
                        const std::int64_t number = number_of(*views[0], rest, columns, r, c);
                        same = same && address(rows, geometry.operands[0], r, c) == x.at(number);
                        same = same && address(rows, geometry.operands[1], r, c) == y.at(number);
                    }
                }
                CHECK(same);
            }
        }
    }
}

// Axes that can be walked as one are; a row counts as contiguous where its elements are aligned neighbours.
void test_merging() {
    const TestView plain({4, 5, 6}, Element::float32), spread({4, 5, 6}, Element::float32, Walk::spread);
    View view = plain;
    const View* const only = &view;
    Geometry geometry;
    geometry.set_norm(&only, 1, axes_of({2}));
    CHECK(geometry.rows.rows == 20 && geometry.rows.cols == 6);
    CHECK(geometry.rows.outer_axes == 1 && geometry.rows.inner_axes == 1);
    CHECK(geometry.operands[0].outer_stride[0] == 24 && geometry.operands[0].inner_stride[0] == 4);
    CHECK(geometry.operands[0].contiguous && geometry.all_contiguous(1));
    CHECK(packing_bytes(geometry, 1, 4) == 0);

    geometry.set_norm(&only, 1, axes_of({1}));
    CHECK(geometry.rows.outer_axes == 2 && geometry.operands[0].inner_stride[0] == 24);
    CHECK(!geometry.operands[0].contiguous);
    CHECK(packing_bytes(geometry, 1, 4) == packed_bytes(geometry.rows, 4));

    // Scratch follows the work: a row takes as much as it has elements, not a tile.
    const TestView single({1, 5000}, Element::float32, Walk::spread),
        few({3, 5000}, Element::float32, Walk::spread);
    for (const auto& [rows, given] : {std::pair(1, &single), std::pair(3, &few)}) {
        view = *given;
        geometry.set_norm(&only, 1, axes_of({1}));
        CHECK(packing_bytes(geometry, 1, 4) == rows * packed_row_bytes(5000, 4));
    }

    view = spread;
    geometry.set_norm(&only, 1, axes_of({1, 2}));
    CHECK(geometry.rows.outer_axes == 1 && geometry.rows.inner_axes == 1);  // gaps, but equal ones
    CHECK(geometry.operands[0].inner_stride[0] == 8 && !geometry.operands[0].contiguous);

    // One axis merges for one array and not for the other: then for none.
    const TestView reversed({4, 5, 6}, Element::float32, Walk::reversed_axes);
    const View plain_view = plain, reversed_view = reversed;
    const View* const both[] = {&plain_view, &reversed_view};
    geometry.set_norm(both, 2, axes_of({2}));
    CHECK(geometry.rows.outer_axes == 2);

    view = plain;
    view.data += 1;
    geometry.set_norm(&only, 1, axes_of({2}));
    CHECK(!geometry.operands[0].contiguous);
}

void test_no_axes_and_no_rows() {
    const TestView scalar({}, Element::float32), empty({0, 5}, Element::float32),
        narrow({3, 0}, Element::float32);
    Geometry geometry;
    View view = scalar;
    const View* const only = &view;
    geometry.set_elementwise(&only, 1);
    CHECK(geometry.rows.rows == 1 && geometry.rows.cols == 1);
    view = empty;
    geometry.set_norm(&only, 1, axes_of({1}));
    CHECK(geometry.rows.rows == 0 && geometry.rows.cols == 5);
    view = narrow;
    geometry.set_norm(&only, 1, axes_of({1}));
    CHECK(geometry.rows.rows == 3 && geometry.rows.cols == 0);
    CHECK(rows_per_chunk(geometry.rows, 4) > 0);
    view = scalar;
    geometry.set_norm(&only, 1, Axes());
    CHECK(geometry.rows.rows == 1 && geometry.rows.cols == 1);
}

// Every element once, the last axis of the result innermost, all operands at the same element.
void test_elementwise() {
    for (const Walk walk : walks) {
        for (const Walk other : walks) {
            const TestView x({3, 1, 4, 5}, Element::float32, walk), y({3, 1, 4, 5}, Element::float32, other);
            const View first_view = x, second_view = y;
            const View* const views[] = {&first_view, &second_view};
            Geometry geometry;
            geometry.set_elementwise(views, 2);
            const Rows& rows = geometry.rows;
            std::set<const char*> seen;
            bool same = true;
            for (std::int64_t r = 0; r < rows.rows; ++r) {
                for (std::int64_t c = 0; c < rows.cols; ++c) {
                    const char* const at = address(rows, geometry.operands[0], r, c);
                    std::int64_t number = 0;
                    while (number < 60 && x.at(number) != at) ++number;
                    same = same && number < 60 && address(rows, geometry.operands[1], r, c) == y.at(number);
                    seen.insert(at);
                }
            }
            CHECK(same && seen.size() == 60 && rows.rows * rows.cols == 60);
            if (walk == other && walk != Walk::backwards) CHECK(rows.rows == 1);
            if (other != Walk::spread) CHECK(geometry.operands[1].contiguous);
        }
    }
}

// beta has a stride of 0 where elements of x share one.
void test_broadcast() {
    const TestView x({2, 3, 5}, Element::float32), y({2, 3, 5}, Element::float32);
    const TestView beta({3, 1}, Element::float32, Walk::spread);
    std::ptrdiff_t strides[3];
    const View x_view = x, beta_view = broadcast(beta, x, strides), y_view = y;
    const View* const arrays[] = {&x_view, &beta_view, &y_view};
    CHECK(strides[0] == 0 && strides[1] == 8 && strides[2] == 0);
    Geometry geometry;
    geometry.set_elementwise(arrays, 3);
    bool same = true;
    for (std::int64_t i = 0; i < 30; ++i) {
        const std::int64_t row = i / geometry.rows.cols, col = i % geometry.rows.cols;
        same = same && address(geometry.rows, geometry.operands[0], row, col) == x.at(i);
        same = same && address(geometry.rows, geometry.operands[1], row, col) == beta.at(i / 5 % 3);
    }
    CHECK(same);
}

// The gradients of swish: rows of x that share a beta or, by columns, a row of betas.
void test_swish() {
    const TestView x({2, 3, 20}, Element::float32), y({2, 3, 20}, Element::float32);
    bool same = true;
    const auto plan_of = [&](SwishBackward& task, Geometry& geometry, const View& beta) {
        return plan_swish_backward(task, geometry, x, x, y, beta, beta);
    };
    SwishBackward task;
    {
        const TestView beta({3, 1}, Element::float32);
        Geometry geometry;
        const SwishPlan plan = plan_of(task, geometry, beta);
        CHECK(!plan.by_columns && plan.groups == 3 && plan.shares_per_group == 2 && plan.share_size == 1);
        CHECK(task.shape.rows == 6 && task.shape.cols == 20 && task.shared_rows == 2);
        // The rows follow each other in memory, and are taken together; their shares do not.
        CHECK(task.rows_together == 6 && plan.work.units == 1);
        std::int64_t shares[6] = {};
        task.dbeta.data = reinterpret_cast<char*>(shares);
        for (std::int64_t i = 0; i < 120; ++i) {
            const std::int64_t row = i / 20, col = i % 20, share = row % 3 * 2 + row / 3;
            same = same && address(task.shape, task.x, row, col) == x.at(i);
            same = same && address(task.shape, task.beta, row, col) == beta.at(row % 3);
            same = same && address(task.shape, task.dbeta, row, 0) == reinterpret_cast<char*>(shares + share);
        }
    }
    {
        const TestView beta({20}, Element::float32);
        Geometry geometry;
        const SwishPlan plan = plan_of(task, geometry, beta);
        CHECK(plan.by_columns && plan.groups == 1 && plan.shares() == 0 && plan.share_size == 20);
        CHECK(task.shape.rows == 6 && task.shared_rows == 6 && task.strip == 32 && task.lane_rows == 0);
        for (std::int64_t i = 0; i < 120; ++i) {
            same = same && address(task.shape, task.beta, i / 20, i % 20) == beta.at(i % 20);
        }
    }
    {
        // Many rows of few columns have sums in the lanes of rows that fill vectors.
        const TestView many({300, 3}, Element::float32), beta({3}, Element::float32);
        Geometry geometry;
        const SwishPlan plan = plan_swish_backward(task, geometry, many, many, many, beta, beta);
        CHECK(plan.by_columns && plan.groups == 1 && task.strip == 3 && task.lane_rows == 32);
    }
    {
        const TestView beta({2, 3, 20}, Element::float32);
        Geometry geometry;
        const SwishPlan plan = plan_of(task, geometry, beta);
        CHECK(plan.by_columns && task.shared_rows == 1 && plan.shares() == 0 && task.shape.cols == 120);
    }
    CHECK(same);
    double shares[] = {1, 2, 3, 4, 5, 6};
    double sums[3];
    SwishPlan plan;
    plan.groups = 3, plan.shares_per_group = 2;
    sum_shares(shares, plan, Element::float64, sums);
    CHECK(sums[0] == 3 && sums[1] == 7 && sums[2] == 11);
    double rows[] = {1, 2, 3, 4, 5, 6};
    plan.groups = 1, plan.share_size = 3;
    sum_shares(rows, plan, Element::float64, sums);
    CHECK(sums[0] == 5 && sums[1] == 7 && sums[2] == 9);
}

void test_leading() {
    const TestView x({2, 3, 5}, Element::float32, Walk::spread);
    const View view = x;
    const View* const only = &view;
    for (int first = 0; first <= 3; ++first) {
        Geometry geometry;
        geometry.set_leading(&only, 1, first);
        bool same = true;
        for (std::int64_t i = 0; i < 30; ++i) {
            const std::int64_t row = i / geometry.rows.cols, col = i % geometry.rows.cols;
            same = same && address(geometry.rows, geometry.operands[0], row, col) == x.at(i);
        }
        CHECK(same);
    }
}

// Rows are (sample, group, place in the group).
void test_channel_groups() {
    for (const Walk walk : walks) {
        const TestView x({2, 6, 5}, Element::float32, walk);
        const View view = x;
        const View* const only = &view;
        Geometry geometry;
        geometry.set_channel_groups(&only, 1, 1, 3);
        CHECK(geometry.rows.rows == 12 && geometry.rows.cols == 5);
        bool same = true;
        for (std::int64_t row = 0; row < 12; ++row) {
            const std::int64_t place = row % 3, group = row / 3 % 2, sample = row / 6;
            const std::int64_t channel = group * 3 + place;
            for (std::int64_t c = 0; c < 5; ++c) {
                const std::int64_t number = (sample * 6 + channel) * 5 + c;
                same = same && address(geometry.rows, geometry.operands[0], row, c) == x.at(number);
            }
        }
        CHECK(same);
    }
}

void test_shares() {
    const std::int64_t extent = 0;
    const auto chunk = [&](std::int64_t rows, std::int64_t cols, std::int64_t size) {
        return rows_per_chunk({rows, cols, 1, 1, &extent, &extent}, size);
    };
    CHECK(chunk(7, 768, 4) == 6);     // single rows where there are few
    CHECK(chunk(512, 768, 4) == 16);  // else whole tiles of 16 KiB at least
    CHECK(chunk(512, 16, 4) == 272);
    CHECK(chunk(512, 100000, 4) == 16);
    for (const std::int64_t rows : {0, 1, 64, 8192}) CHECK(rows_per_block(rows) == 64);
    CHECK(rows_per_block(8193) == 96);
    for (const std::int64_t rows : {8193, 100000, 12345678}) {
        const std::int64_t block = rows_per_block(rows);
        CHECK(block % 32 == 0 && (rows + block - 1) / block <= 128);
    }
}

}  // namespace

int main() {
    test_norm_rows();
    test_merging();
    test_no_axes_and_no_rows();
    test_elementwise();
    test_broadcast();
    test_swish();
    test_leading();
    test_channel_groups();
    test_shares();
    return check::report();
}
