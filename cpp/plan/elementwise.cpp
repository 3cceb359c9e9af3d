#include "plan/elementwise.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <numeric>

namespace fastnorm {

Work plan_elementwise(
    Elementwise& task, Geometry& geometry, const View* arrays, int inputs, int results, bool warm,
    double nanoseconds
) {
    const int count = inputs + results;
    const View& out = arrays[inputs];
    const View* views[Geometry::max_operands] = {};
    for (int k = 0; k < count; ++k) views[k] = &arrays[k];
    geometry.set_elementwise(views, count);
    task.shape = geometry.rows;
    task.stream = warm && count * out.bytes() > stream_bytes;
    Work work;
    for (int k = 0; k < count; ++k) {
        task.operands[k] = geometry.operands[k];
        if (!geometry.operands[k].contiguous) {
            work.scratch_bytes += segment_elements * item_size(arrays[k].element);
        }
        // A result that replaces an input is in the cache when it is written.
        if (k < inputs && arrays[k].data == out.data) task.stream = false;
    }
    work.units = task.shape.rows * segments_per_row(task);
    // What repeats is packed once a call of the kernel.
    if (work.scratch_bytes > 0) work.units_per_chunk = std::clamp<std::int64_t>(work.units / 16, 1, 8);
    const double cost = nanoseconds * (out.element == Element::float64 ? 5 : 1);
    work.nanoseconds = cost * double(task.shape.rows * task.shape.cols);
    return work;
}

namespace {

// A block has 4096 elements at least, where there are as many, so that its sum costs little beside them.
// Packed are 16384 at most, which stay in the second-level cache; of arrays with many rows, which memory sets
// the time of, four times as many, so that rows are read in long runs.
void set_loss_blocks(ElementwiseLoss& task) {
    constexpr std::int64_t least = 4096, lanes = 64, many = 2048;
    const Rows& shape = task.shape;
    const std::int64_t most = shape.rows >= many ? 65536 : 16384;
    const std::int64_t most_cols = most / std::clamp<std::int64_t>(shape.rows, 1, tile_rows) / lanes * lanes;
    task.block_cols = std::clamp<std::int64_t>(shape.cols, 1, most_cols);
    const std::int64_t in_tile = tile_rows * task.block_cols;
    task.packed_rows = task.block_rows = tile_rows * ((least + in_tile - 1) / in_tile);
    task.by_rows = shape.rows >= tile_rows && shape.cols % 16 == 0;
    if (task.by_rows) task.block_rows = std::max(task.block_rows, lanes_by_rows.sets);
}

// Rows whose elements lie close together are packed into the first-level cache. mse_loss of 512 x 768 floats,
// one Zen 4 core: every second column 213 us with 12288 elements packed at a time, 170 with 2048; columns in
// reverse 165 and 135.
constexpr std::int64_t packed_by_rows = 2048;

// Whether the elements of a row lie closer together than rows.
bool has_close_elements(const Rows& rows, const Operand& operand) {
    return rows.inner_axes == 1 && rows.outer_axes == 1 &&
           std::abs(operand.inner_stride[0]) < std::abs(operand.outer_stride[0]);
}

// The axis that the columns of a sum begin with: a channel axis belongs to the rows.
int first_loss_column(int ndim) { return ndim < 2 ? 0 : ndim < 4 ? 1 : 2; }

bool has_columns(const Rows& rows, const Operand& operand, std::int64_t size) {
    std::uintptr_t places = reinterpret_cast<std::uintptr_t>(operand.data);
    for (int i = 0; i < rows.inner_axes; ++i) places |= std::uintptr_t(operand.inner_stride[i]);
    return rows.outer_axes == 1 && operand.outer_stride[0] == size && are_multiples(places, size);
}

}  // namespace

Work plan_elementwise_loss(
    ElementwiseLoss& task, Geometry& geometry, const View* const (&arrays)[ElementwiseLoss::all_roles],
    bool adds, bool warm, double nanoseconds
) {
    using Loss = ElementwiseLoss;
    // The last one is a result.
    constexpr int order[] = {Loss::x,     Loss::target, Loss::weight,  Loss::pos_weight,
                             Loss::dloss, Loss::losses, Loss::gradient};
    const View* given[Loss::all_roles];
    int count = 0;
    for (const int role : order) {
        if (arrays[role]) given[count++] = arrays[role];
    }
    const View& x = *arrays[ElementwiseLoss::x];
    const std::int64_t size = x.size();
    if (adds) {
        geometry.set_leading(given, count, first_loss_column(x.ndim));
    } else {
        geometry.set_elementwise(given, count);
    }
    task.shape = geometry.rows;
    std::int64_t packed = 0;  // bytes of an element of each
    bool by_rows = true;
    set_loss_blocks(task);
    task.along_columns = adds && task.by_rows && !arrays[Loss::weight] && !arrays[Loss::pos_weight];
    int k = 0;
    for (const int role : order) {
        Operand& operand = task.operands[role] = {nullptr, nullptr, nullptr, true};
        if (!arrays[role]) continue;
        operand = geometry.operands[k++];
        const std::int64_t own = item_size(arrays[role]->element);
        task.along_columns = task.along_columns && has_columns(task.shape, operand, own);
        if (!task.is_dense(operand, task.shape.rows, task.block_cols, own)) {
            packed += own;
            by_rows = by_rows && has_close_elements(task.shape, operand);
        }
    }
    if (packed == 0) {
        task.packed_rows = task.block_rows;
    } else if (task.by_rows && by_rows) {
        task.packed_rows = std::clamp<std::int64_t>(packed_by_rows / task.block_cols, 1, task.packed_rows);
    }
    task.stream = arrays[ElementwiseLoss::gradient] && warm && count * x.bytes() > stream_bytes &&
                  task.operands[ElementwiseLoss::gradient].contiguous;
    return {
        task.blocks(), 1, nanoseconds * (x.element == Element::float64 ? 3 : 1) * double(size),
        packed * task.packed_elements()
    };
}

namespace {

// Whether the elements of x along an axis share one of beta.
bool is_shared(const View& beta, const View& x, int axis) {
    const int missing = x.ndim - beta.ndim;
    return axis < missing || beta.shape[axis - missing] == 1;
}

// How many rows of operands, all of the element size, make a run, or 1: where they are short and follow each
// other in memory. Rows of 768 elements, one by one, take as long as runs (Zen 4), with a loop that is
// simpler.
std::int64_t joined_rows(
    const Rows& rows, std::initializer_list<const Operand*> operands, std::int64_t size
) {
    if (rows.rows < 2 || rows.cols == 0 || rows.cols > swish_run / 2) return 1;
    for (const Operand* operand : operands) {
        std::int64_t step = rows.cols * size;
        if (!operand->contiguous) return 1;
        for (int axis = rows.outer_axes - 1; axis >= 0; step *= rows.outer_extent[axis--]) {
            if (operand->outer_stride[axis] != step) return 1;
        }
    }
    return std::min(rows.rows, swish_run / rows.cols);
}

}  // namespace

View broadcast(const View& beta, const View& x, std::ptrdiff_t* strides) {
    const int missing = x.ndim - beta.ndim;
    for (int i = 0; i < x.ndim; ++i) strides[i] = is_shared(beta, x, i) ? 0 : beta.strides[i - missing];
    return {beta.data, beta.element, x.ndim, x.shape, strides, false};
}

Work plan_swish(SwishForward& task, Geometry& geometry, const View& x, const View& beta, const View& y) {
    const View arrays[] = {x, beta, y};
    Work work = plan_elementwise(task, geometry, arrays, 2, 1, false, swish_cost.forward);
    task.rows_together =
        joined_rows(task.shape, {&task.operands[0], &task.operands[2]}, item_size(x.element));
    if (task.rows_together > 1) {
        work.units = (task.shape.rows + task.rows_together - 1) / task.rows_together;
        work.units_per_chunk = segment_elements / swish_run;
        work.scratch_bytes = swish_room * item_size(beta.element);
    }
    return work;
}

namespace {

// The axes of x as SwishBackward takes them: those that are not shared, then the shared ones, then the
// columns. Lengths alone decide, so that the order of addition follows from the shapes.
struct SwishAxes {
    int order[max_axes];
    int row_axes = 0;
    std::int64_t shared_rows = 1;
    bool by_columns = false;
    // Whether the columns are few, and the rows that share them many.
    bool few_columns = false;

    // The axes in the order of x but for the columns: rows as they may follow each other in memory.
    void sort_rows() { std::sort(order, order + row_axes); }
    // The strides of an array of one double for each row in the order of the axes.
    void share_strides(const View& x, std::ptrdiff_t* strides) const {
        std::fill_n(strides, x.ndim, 0);
        std::ptrdiff_t step = sizeof(double);
        for (int i = row_axes - 1; i >= 0; step *= x.shape[order[i--]]) strides[order[i]] = step;
    }
};

// Runs of neighbouring axes of this length make columns: a row costs about as much as so many elements.
constexpr std::int64_t least_columns = 16;
// Columns are fewer where so many rows share them.
constexpr std::int64_t many_rows = 256;

// Rows of `cols` elements that fill whole vectors and have swish_period at least, or 0 where they are too
// long.
std::int64_t lane_rows(std::int64_t cols) {
    if (cols == 0) return 0;
    const std::int64_t whole = 16 / std::gcd(cols, std::int64_t(16));
    const std::int64_t rows = whole * ((swish_period + whole * cols - 1) / (whole * cols));
    return rows * cols <= swish_run ? rows : 0;
}

SwishAxes swish_axes(const View& x, const View& beta) {
    // The kinds of axes (shared is 1): the last run of neighbours of a kind.
    struct Run {
        int first = 0, end = 0;
        std::int64_t length = 1;
    } runs[2];
    int last = -1;
    for (int axis = x.ndim - 1, kind = -1; axis >= 0; --axis) {
        if (x.shape[axis] == 1) continue;
        const int here = is_shared(beta, x, axis) ? 1 : 0;
        Run& run = runs[here];
        if (run.end > 0 && here != kind) break;  // a run before the last one of either kind
        if (run.end == 0) run.end = axis + 1;
        run.first = axis, run.length *= x.shape[axis];
        kind = here;
        if (last < 0) last = here;
    }
    SwishAxes result;
    const bool is_few = last == 0 && runs[1].length >= many_rows;
    const int kind = is_few || runs[last == 1].length >= least_columns ? last == 1
                     : runs[0].length >= least_columns                 ? 0
                                                                       : 1;
    result.by_columns = kind == 0;
    const Run& columns = runs[kind];
    const bool every = !is_few && columns.length < least_columns;  // all shared axes are columns
    const auto is_column = [&](int axis) {
        return every ? is_shared(beta, x, axis) : axis >= columns.first && axis < columns.end;
    };
    int count = 0;
    for (const bool shared : {false, true}) {
        for (int axis = 0; axis < x.ndim; ++axis) {
            if (is_column(axis) || is_shared(beta, x, axis) != shared) continue;
            result.order[count++] = axis;
            if (shared) result.shared_rows *= x.shape[axis];
        }
    }
    result.row_axes = count;
    for (int axis = 0; axis < x.ndim; ++axis) {
        if (is_column(axis)) result.order[count++] = axis;
    }
    return result;
}

}  // namespace

// The same where the shared axes are one run, the last axes: rows of these columns.
SwishAxes rows_of_shared(const View& x, const View& beta, SwishAxes axes) {
    int first = x.ndim;
    while (first > 0 && (x.shape[first - 1] == 1 || is_shared(beta, x, first - 1))) --first;
    std::int64_t length = 1;
    for (int axis = first; axis < x.ndim; ++axis) length *= x.shape[axis];
    if (length != axes.shared_rows) return axes;
    for (int axis = 0; axis < x.ndim; ++axis) axes.order[axis] = axis;
    axes.row_axes = first, axes.shared_rows = 1, axes.by_columns = false;
    return axes;
}

SwishPlan plan_swish_backward(
    SwishBackward& task, Geometry& geometry, const View& dy, const View& x, const View& dx, const View& beta,
    const View& dbeta
) {
    SwishPlan plan;
    plan.groups = beta.size();
    if (x.size() == 0) return plan;
    std::ptrdiff_t beta_strides[max_axes], dbeta_strides[max_axes];
    const View betas = broadcast(beta, x, beta_strides), dbetas = broadcast(dbeta, x, dbeta_strides);
    const View* arrays[] = {&dy, &x, &betas, &dbetas, &dx};
    const std::int64_t size = item_size(x.element), compute = item_size(beta.element);
    task.shared_rows = task.rows_together = 1, task.lane_rows = 0;
    if (plan.groups == x.size()) {  // no sums: the order is free
        plan.by_columns = true;
        geometry.set_elementwise(arrays, 5);
    } else {
        SwishAxes axes = swish_axes(x, beta);
        const auto join = [&] {
            const Operand* const operands = geometry.operands;
            task.rows_together = joined_rows(geometry.rows, {&operands[0], &operands[1], &operands[4]}, size);
        };
        const SwishAxes by_rows = axes.by_columns ? rows_of_shared(x, beta, axes) : axes;
        if (!by_rows.by_columns) {
            // Rows as they follow each other in memory, if they do.
            std::ptrdiff_t strides[max_axes];
            by_rows.share_strides(x, strides);
            const View shares{nullptr, Element::float64, x.ndim, x.shape, strides, false};
            SwishAxes sorted = by_rows;
            sorted.sort_rows();
            arrays[3] = &shares;
            geometry.set_order(arrays, 5, sorted.order, sorted.row_axes);
            arrays[3] = &dbetas;
            // Short rows are summed as columns are.
            if (axes.by_columns || geometry.rows.cols >= least_columns) join();
            if (task.rows_together > 1) axes = by_rows;
        }
        plan.by_columns = axes.by_columns;
        task.shared_rows = axes.shared_rows;
        if (task.rows_together == 1) geometry.set_order(arrays, 5, axes.order, axes.row_axes);
        if (axes.by_columns) {
            join();
            // Columns of few rows are summed as short rows are.
            if (axes.shared_rows >= least_columns) task.lane_rows = lane_rows(geometry.rows.cols);
            // Whole vectors have a sum each in either loop.
            if (task.lane_rows == 1 && task.rows_together == 1) task.lane_rows = 0;
        }
    }
    const Rows& rows = task.shape = geometry.rows;
    task.dy = geometry.operands[0];
    task.x = geometry.operands[1];
    task.beta = geometry.operands[2];
    task.dbeta = geometry.operands[3];
    task.dx = geometry.operands[4];
    const bool packs = !(task.dy.contiguous && task.x.contiguous && task.dx.contiguous);
    Work& work = plan.work;
    work.nanoseconds = swish_cost.backward * (x.element == Element::float64 ? 5 : 1) * double(x.size());
    plan.groups = rows.rows / task.shared_rows;
    if (plan.by_columns) {
        // Packed strips are narrow, so that the lines their elements lie in stay in the cache for the next
        // row.
        task.strip = std::min<std::int64_t>(packs ? 256 : 1024, (rows.cols + 15) / 16 * 16);
        task.block_rows = rows_per_block(task.shared_rows);
        work.scratch_bytes = task.strip * (16 + 3 * compute + 3 * size);
        if (task.lane_rows > 0) {
            task.strip = rows.cols;
            if (task.lane_rows > 1) {  // enough for what a block takes besides not to count
                const std::int64_t least = segment_elements / rows.cols;
                task.block_rows = std::max(task.block_rows, least / task.lane_rows * task.lane_rows);
            }
            work.scratch_bytes = swish_run * (3 * sizeof(double) + 3 * compute + 3 * size);
        }
        const std::int64_t blocks = (task.shared_rows + task.block_rows - 1) / task.block_rows;
        work.units = plan.groups * blocks * ((rows.cols + task.strip - 1) / task.strip);
        work.units_per_chunk = std::max<std::int64_t>(
            1, segment_elements / (task.strip * std::min(task.shared_rows, task.block_rows))
        );
        plan.shares_per_group = blocks > 1 ? blocks : 0;
        plan.share_size = rows.cols;
    } else {
        const bool joins = task.rows_together > 1;
        work.units = joins ? (rows.rows + task.rows_together - 1) / task.rows_together
                           : rows.rows * segments_per_row(task);
        work.units_per_chunk = std::max<std::int64_t>(1, segment_elements / (task.rows_together * rows.cols));
        work.scratch_bytes = joins   ? swish_room * (sizeof(double) + 2 * compute) + 256 * compute
                             : packs ? 3 * segment_elements * size
                                     : 0;
        plan.shares_per_group = task.shared_rows * segments_per_row(task);
    }
    return plan;
}

namespace {

template <class S>
void sum_shares_as(double* shares, const SwishPlan& plan, S* sums) {
    const std::int64_t size = plan.share_size;
    if (plan.shares_per_group * size == 1) {
        for (std::int64_t group = 0; group < plan.groups; ++group) sums[group] = S(shares[group]);
        return;
    }
    for (std::int64_t group = 0; group < plan.groups; ++group, sums += size) {
        double* const total = shares + group * plan.shares_per_group * size;
        for (std::int64_t k = 1; k < plan.shares_per_group; ++k) {
            for (std::int64_t j = 0; j < size; ++j) total[j] += total[k * size + j];
        }
        for (std::int64_t j = 0; j < size; ++j) sums[j] = plan.shares_per_group > 0 ? S(total[j]) : S(0);
    }
}

}  // namespace

void sum_shares(double* shares, const SwishPlan& plan, Element compute, void* sums) {
    if (compute == Element::float64) {
        sum_shares_as(shares, plan, static_cast<double*>(sums));
    } else {
        sum_shares_as(shares, plan, static_cast<float*>(sums));
    }
}

}  // namespace fastnorm
