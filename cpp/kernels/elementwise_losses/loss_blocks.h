// The loop of the element-wise losses: losses, their sum and the gradient of a block in one pass.
//
// The order of a sum follows the elements (tasks/elementwise_losses.h), so a block may be walked as memory
// lies: along rows, which are contiguous or packed, or along columns where those are contiguous in all
// operands (Fortran order).
#pragma once

#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "kernels/loops/row_span.h"
#include "kernels/loops/row_tile.h"
#include "simd/math.h"
#include "tasks/elementwise_losses.h"

FASTNORM_TARGET_BEGIN

// What moves elements knows their size alone: once for both half types.
template <class T>
using Stored = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;
template <class S>
using compute_of_stored = std::conditional_t<sizeof(S) == 8, double, float>;

// `count` elements of each of `runs` runs, which are `step` elements apart; null where an operand is not
// given or wanted. Lines `read_ahead` and `write_ahead` elements on are fetched. Run k is added to set
// (first_run + k) mod lanes.sets of `sums`, from lane first_lane on, where there are several, else after the
// run before; `sums` may be null.
template <class S>
struct LossRuns {
    static constexpr int roles = ElementwiseLoss::roles;
    S* elements[roles];
    std::int64_t step[roles];
    compute_of_stored<S>* weights[2];
    std::int64_t weight_step[2];
    std::int64_t runs, count, first_run, first_lane, read_ahead, write_ahead;
    LossLanes lanes;
    double* sums;
};

// The loss of an element and its slope.
template <class V>
struct LossTerms {
    V value, slope;

    FASTNORM_INLINE V loss() const { return value; }
    FASTNORM_INLINE V gradient() const { return slope; }
    template <class Wide>
    FASTNORM_INLINE Wide add_to(Wide sum) const {
        return sum + to_double(value);
    }
};

// exp(-t) for t >= 0.
template <class V>
FASTNORM_INLINE V exponential_of_negative(V t) {
    using C = element_t<V>;
    const auto parts = exponential(max(broadcast<V>(sizeof(C) == 4 ? C(-105) : C(-746)), -t));
    return scale(broadcast<V>(1) + parts.s, parts.n);
}

// Whether a loss has weights: then it is Loss::at(x, target, weight, pos_weight).
template <class Loss, class = void>
constexpr bool has_weights = false;
template <class Loss>
constexpr bool has_weights<Loss, decltype(void(Loss::has_weights))> = Loss::has_weights;

// Losses and gradients of runs of whole registers. The lanes lie in memory, so that one loop body serves
// every register width, and are so many that no addition waits for the one before.
template <class Loss, class T>
void add_losses(const ElementwiseLoss& task, const LossRuns<Stored<T>>& runs) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    using V = Vec<C, lanes>;
    const Loss loss(task);
    const T* x = reinterpret_cast<const T*>(runs.elements[ElementwiseLoss::x]);
    const T* target = reinterpret_cast<const T*>(runs.elements[ElementwiseLoss::target]);
    const T* dloss = reinterpret_cast<const T*>(runs.elements[ElementwiseLoss::dloss]);
    T* losses = reinterpret_cast<T*>(runs.elements[ElementwiseLoss::losses]);
    T* gradient = reinterpret_cast<T*>(runs.elements[ElementwiseLoss::gradient]);
    const C* weight = runs.weights[0];
    const C* pos_weight = runs.weights[1];
    const V scale = broadcast<V>(C(task.scale)), one = broadcast<V>(1);
    const std::int64_t count = runs.count, first_lane = runs.first_lane;
    const std::int64_t last_set = runs.lanes.sets - 1, width = runs.lanes.width;
    const std::int64_t last_lane = width - 1, read_ahead = runs.read_ahead, write_ahead = runs.write_ahead;
    std::int64_t lane = first_lane;
    for (std::int64_t run = 0; run < runs.runs; ++run) {
        double* const sums = runs.sums ? runs.sums + ((runs.first_run + run) & last_set) * width : nullptr;
        if (last_set > 0) lane = first_lane;
        for (std::int64_t i = 0; i < count; i += lanes) {
            prefetch_read(x + i + read_ahead);
            prefetch_read(target + i + read_ahead);
            const auto result = [&]() FASTNORM_INLINE_LAMBDA {
                if constexpr (has_weights<Loss>) {
                    return loss.at(
                        load<V>(x + i), load<V>(target + i), weight ? load<V>(weight + i) : one,
                        pos_weight ? load<V>(pos_weight + i) : one
                    );
                } else {
                    return loss.at(load<V>(x + i), load<V>(target + i));
                }
            }();
            if (losses) store(losses + i, result.loss());
            if (sums) {
                lane &= last_lane;
                store(sums + lane, result.add_to(load<Vec<double, lanes>>(sums + lane)));
                lane += lanes;
            }
            if (gradient) {
                prefetch_write(gradient + i + write_ahead);
                store(gradient + i, result.gradient() * (dloss ? load<V>(dloss + i) : scale));
            }
        }
        x += runs.step[ElementwiseLoss::x];
        target += runs.step[ElementwiseLoss::target];
        if (dloss) dloss += runs.step[ElementwiseLoss::dloss];
        if (losses) losses += runs.step[ElementwiseLoss::losses];
        if (gradient) gradient += runs.step[ElementwiseLoss::gradient];
        if constexpr (has_weights<Loss>) {
            if (weight) weight += runs.weight_step[0];
            if (pos_weight) pos_weight += runs.weight_step[1];
        }
    }
}
template <class S>
using AddLosses = void (*)(const ElementwiseLoss&, const LossRuns<S>&);

// Copies rows [row, row + rows) and columns [column, column + cols) of an operand to packed memory if `pack`,
// else back.
template <class T>
FASTNORM_OUTLINE void move_block(
    const Rows& shape, const Operand& operand, std::int64_t row, std::int64_t rows, std::int64_t column,
    std::int64_t cols, T* packed, bool pack
) {
    constexpr int size = int(sizeof(T));
    Rows part = shape;
    Operand moved = operand;
    if (shape.inner_axes == 1) {
        part.cols = cols, part.inner_extent = &part.cols;
        moved.data += column * operand.inner_stride[0];
    }
    if (part.cols == cols) {
        for (std::int64_t done = 0; done < rows; done += tile_rows) {
            const int count = int(smaller(tile_rows, rows - done));
            char* const tile = reinterpret_cast<char*>(packed + done * cols);
            move_rows(part, moved, size, row + done, count, tile, cols * size, pack);
        }
        return;
    }
    for (std::int64_t i = 0; i < rows; ++i) {
        char* const start =
            operand.data +
            strided_offset(row + i, shape.outer_axes, shape.outer_extent, operand.outer_stride);
        if (pack) {
            move_span<T, true>(shape, operand.inner_stride, start, packed + i * cols, column, cols);
        } else {
            move_span<T, false>(shape, operand.inner_stride, start, packed + i * cols, column, cols);
        }
    }
}

// Inputs are fetched from memory this far ahead, over the end of a page, where the processor's prefetcher
// stops. Lines of the gradient are fetched to be written: mse_loss at 512 x 768, one Ice Lake core, 29.5
// GB/s, 25 without (a copy 35).
constexpr std::int64_t loss_bytes_ahead = 4096, gradient_bytes_ahead = 1024;
// Lines of runs so many on, which no processor fetches by itself where runs are short.
constexpr std::int64_t runs_ahead = 4;

// A gradient that is streamed is copied from a buffer this many elements at a time, so that reading and
// writing memory overlap, and no load waits for a streamed store to the same place of another page: mse_loss
// at 8192 x 4096 moved 17.4 GB/s on one Ice Lake core and 32.5 on two, with 256 elements 15.9 and 30.5, with
// 512 16.0 and 29.9 (copies 18 and 35).
constexpr std::int64_t streamed_piece = 128;
static_assert(streamed_piece % lanes_flat.width == 0, "elements keep their lanes");

// Copies elements past the caches.
template <class T>
FASTNORM_INLINE void stream_elements(const T* source, T* target, std::int64_t count) {
    constexpr std::int64_t line = 64 / std::int64_t(sizeof(T));
    std::int64_t i = columns_to_alignment(target, count);
    std::memcpy(target, source, std::size_t(i) * sizeof(T));
    for (; i + line <= count; i += line) {
        stream(
            reinterpret_cast<float*>(target + i),
            load<Vec<float, 16>>(reinterpret_cast<const float*>(source + i))
        );
    }
    std::memcpy(target + i, source + i, std::size_t(count - i) * sizeof(T));
}

// Blocks [begin, end), by add_losses of some loss. Once for the losses of types of a size. `filler` has x and
// target of an element without loss, to fill the last register with.
template <class S>
class LossBlocks {
public:
    using C = compute_of_stored<S>;
    static constexpr int roles = ElementwiseLoss::roles, first_result = ElementwiseLoss::losses;
    static constexpr int lanes = native<C>;

    LossBlocks(const ElementwiseLoss& task, AddLosses<S> add, const void* filler) : task_(task), add_(add) {
        std::memcpy(filler_, filler, sizeof filler_);
    }

    FASTNORM_OUTLINE void run(std::int64_t begin, std::int64_t end, void* scratch) {
        const std::int64_t across = task_.blocks_per_row();
        for (std::int64_t block = begin; block < end; ++block) {
            row_ = block / across * task_.block_rows;
            column_ = block % across * task_.block_cols;
            rows_ = smaller(task_.block_rows, task_.shape.rows - row_);
            cols_ = smaller(task_.block_cols, task_.shape.cols - column_);
            alignas(64) double sums[lanes_by_rows.sets * lanes_by_rows.width];
            sums_ = task_.sums ? sums : nullptr;
            if (task_.along_columns && rows_ % tile_rows == 0) {
                clear(lanes_by_columns);
                along_columns();
                if (sums_) task_.sums[block] = sum_of_columns();
            } else {
                const LossLanes sets = task_.by_rows ? lanes_by_rows : lanes_flat;
                clear(sets);
                const std::int64_t last_row = row_ + rows_;
                for (std::int64_t done = 0; row_ < last_row; done += rows_, row_ += rows_) {
                    rows_ = smaller(task_.packed_rows, last_row - row_);
                    along_rows(sets, done, scratch);
                }
                if (!sums_) continue;
                task_.sums[block] =
                    task_.by_rows ? sum_of_rows(sums) : sum(load<Vec<double, lanes_flat.width>>(sums));
            }
        }
    }

private:
    template <class E = S>
    FASTNORM_INLINE E* place(int role) const {
        const Operand& operand = task_.operands[role];
        const Rows& shape = task_.shape;
        if (!operand.data) return nullptr;
        return reinterpret_cast<E*>(
            operand.data + strided_offset(row_, shape.outer_axes, shape.outer_extent, operand.outer_stride) +
            strided_offset(column_, shape.inner_axes, shape.inner_extent, operand.inner_stride)
        );
    }

    FASTNORM_INLINE void clear(LossLanes sets) {
        if (sums_) std::memset(sums_, 0, std::size_t(sets.sets * sets.width) * sizeof(double));
    }
    static FASTNORM_INLINE double sum_of_rows(const double* sums) {
        constexpr std::int64_t width = lanes_by_rows.width;
        auto total = load<Vec<double, width>>(sums);
        for (int set = 1; set < lanes_by_rows.sets; ++set)
            total = total + load<Vec<double, width>>(sums + set * width);
        return sum(total);
    }
    double sum_of_columns() {
        alignas(64) double by_rows[lanes_by_rows.sets * lanes_by_rows.width];
        for (int set = 0; set < lanes_by_rows.sets; ++set) {
            for (int lane = 0; lane < lanes_by_rows.width; ++lane)
                by_rows[set * lanes_by_rows.width + lane] = sums_[lane * lanes_by_columns.width + set];
        }
        return sum_of_rows(by_rows);
    }

    // Columns are contiguous in all operands: as many rows at a time as there are sets.
    void along_columns() {
        const std::int64_t last = task_.shape.inner_axes - 1, extent = task_.shape.inner_extent[last];
        const std::int64_t first = column_, end = column_ + cols_, last_row = row_ + rows_;
        LossRuns<S> runs;
        runs.first_lane = 0, runs.lanes = lanes_by_columns, runs.sums = sums_;
        runs.weights[0] = runs.weights[1] = nullptr;
        for (; row_ < last_row; row_ += runs.count) {
            runs.count = smaller(lanes_by_columns.width, last_row - row_);
            for (column_ = first; column_ < end; column_ += runs.runs) {
                runs.first_run = column_ - first;
                runs.runs = smaller(extent - column_ % extent, end - column_);
                for (int k = 0; k < roles; ++k) {
                    runs.elements[k] = place(k);
                    if (!runs.elements[k]) continue;
                    runs.step[k] = task_.operands[k].inner_stride[last] / std::int64_t(sizeof(S));
                }
                runs.read_ahead = runs_ahead * runs.step[ElementwiseLoss::x];
                runs.write_ahead = runs.elements[ElementwiseLoss::gradient]
                                       ? runs_ahead * runs.step[ElementwiseLoss::gradient]
                                       : 0;
                add_(task_, runs);
            }
        }
    }

    // Rows are contiguous, or packed where they are not or do not fill registers.
    void along_rows(LossLanes sets, std::int64_t first_row, void* scratch) {
        constexpr std::int64_t size = sizeof(S);
        const bool fills = cols_ % lanes == 0 && task_.shape.outer_axes == 1;
        LossRuns<S> runs;
        runs.runs = task_.by_rows ? rows_ : 1;
        runs.first_run = first_row, runs.first_lane = task_.by_rows ? 0 : first_row * cols_;
        runs.lanes = sets, runs.sums = sums_;
        C* weight_space = static_cast<C*>(scratch);
        for (int k = 0; k < 2; ++k) {
            const Operand& operand = task_.operands[ElementwiseLoss::weight + k];
            runs.weights[k] = place<C>(ElementwiseLoss::weight + k);
            runs.weight_step[k] = cols_;
            if (!operand.data || task_.is_dense(operand, rows_, cols_, sizeof(C))) continue;
            if (fills && operand.contiguous) {
                runs.weight_step[k] = operand.outer_stride[0] / std::int64_t(sizeof(C)), runs.runs = rows_;
                continue;
            }
            move_block(task_.shape, operand, row_, rows_, column_, cols_, weight_space, true);
            runs.weights[k] = weight_space;
            weight_space += task_.packed_elements();
        }
        S* space = reinterpret_cast<S*>(weight_space);
        bool packed[roles] = {};
        for (int k = 0; k < roles; ++k) {
            const Operand& operand = task_.operands[k];
            runs.elements[k] = place(k);
            runs.step[k] = cols_;
            if (!operand.data || task_.is_dense(operand, rows_, cols_, size)) continue;
            packed[k] = !(fills && operand.contiguous);
            if (!packed[k]) {
                runs.step[k] = operand.outer_stride[0] / size, runs.runs = rows_;
                continue;
            }
            runs.elements[k] = space;
            space += task_.packed_elements();
            if (k < first_result) {
                move_block(task_.shape, operand, row_, rows_, column_, cols_, runs.elements[k], true);
            }
        }
        runs.count = rows_ * cols_ / runs.runs;
        // Where rows do not follow each other, whole rows on.
        const std::int64_t step = runs.step[ElementwiseLoss::x], far = loss_bytes_ahead / size;
        runs.read_ahead =
            step == cols_ || step == 0 ? far : step * ((far + std::abs(step) - 1) / std::abs(step));
        runs.write_ahead = gradient_bytes_ahead / size;
        walk(runs);
        for (int k = first_result; k < roles; ++k) {
            if (!packed[k]) continue;
            move_block(task_.shape, task_.operands[k], row_, rows_, column_, cols_, runs.elements[k], false);
        }
    }

    // Only a single run ends with a register that is not full.
    void walk(LossRuns<S>& runs) {
        const std::int64_t rest = runs.count % lanes;
        LossRuns<S> whole = runs;
        whole.count -= rest;
        if (task_.stream) {
            stream_gradient(whole);
        } else if (whole.count > 0) {
            add_(task_, whole);
        }
        if (rest > 0) last_register(runs, whole.count, int(rest));
    }

    FASTNORM_OUTLINE void stream_gradient(const LossRuns<S>& runs) {
        alignas(64) S buffer[streamed_piece];
        LossRuns<S> piece = runs;
        piece.runs = 1;
        for (std::int64_t run = 0; run < runs.runs; ++run) {
            if (task_.by_rows) piece.first_run = runs.first_run + run, piece.first_lane = 0;
            for (std::int64_t i = 0; i < runs.count; i += piece.count) {
                piece.count = smaller(streamed_piece, runs.count - i);
                for (int k = 0; k < roles; ++k)
                    piece.elements[k] =
                        runs.elements[k] ? runs.elements[k] + run * runs.step[k] + i : nullptr;
                for (int k = 0; k < 2; ++k) {
                    if (runs.weights[k]) piece.weights[k] = runs.weights[k] + run * runs.weight_step[k] + i;
                }
                S* const gradient = piece.elements[ElementwiseLoss::gradient];
                piece.elements[ElementwiseLoss::gradient] = buffer;
                add_(task_, piece);
                stream_elements(buffer, gradient, piece.count);
                piece.first_lane += piece.count;
            }
        }
    }

    // The elements after whole registers.
    void last_register(LossRuns<S>& runs, std::int64_t whole, int rest) {
        const std::size_t bytes = std::size_t(rest) * sizeof(S);
        S last[roles][lanes];
        S* places[roles];
        LossRuns<S> piece = runs;
        piece.count = lanes, piece.first_lane += whole;
        for (int k = 0; k < roles; ++k) {
            places[k] = runs.elements[k] ? runs.elements[k] + whole : nullptr;
            if (!places[k]) continue;
            for (S& element : last[k]) element = filler_[k != ElementwiseLoss::x];
            piece.elements[k] = last[k];
            if (k < first_result) std::memcpy(last[k], places[k], bytes);
        }
        C last_weights[2][lanes];
        for (int k = 0; k < 2; ++k) {
            if (!runs.weights[k]) continue;
            for (int i = 0; i < lanes; ++i) last_weights[k][i] = i < rest ? runs.weights[k][whole + i] : C(1);
            piece.weights[k] = last_weights[k];
        }
        add_(task_, piece);
        for (int k = first_result; k < roles; ++k) {
            if (places[k]) std::memcpy(places[k], last[k], bytes);
        }
    }

    const ElementwiseLoss& task_;
    const AddLosses<S> add_;
    S filler_[2];
    std::int64_t row_, column_, rows_, cols_;
    double* sums_;
};

// The kernel of a loss, which an element of these numbers has none of.
template <class Loss, class T>
FASTNORM_INLINE void run_loss(
    const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch, compute_t<T> x,
    compute_t<T> target
) {
    T filler[2];
    narrow(x, filler[0]), narrow(target, filler[1]);
    LossBlocks<Stored<T>>(task, add_losses<Loss, T>, filler).run(begin, end, scratch);
}

FASTNORM_TARGET_END
