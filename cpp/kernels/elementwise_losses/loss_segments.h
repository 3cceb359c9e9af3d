// The loop of the element-wise losses: losses, their sum and the gradient of a segment in one pass.
//
// A sum runs in double over `sum_lanes` lanes of a segment, lane l taking elements l, l + 64, ...; the
// binding adds the segments in their order. The lanes lie in memory, so that one loop body serves every
// register width, and are so many that no addition waits for the one before.
#pragma once

#include <cstring>

#include "kernels/loops/row_span.h"
#include "tasks/elementwise_losses.h"

FASTNORM_TARGET_BEGIN

constexpr int sum_lanes = 64;

template <int N>
FASTNORM_INLINE Vec<double, N> as_double(Vec<float, N> v) {
    return to_double(v);
}
template <int N>
FASTNORM_INLINE Vec<double, N> as_double(Vec<double, N> v) {
    return v;
}

// Inputs are fetched from memory this far ahead, over the end of a page, where the processor's prefetcher
// stops. Lines of the gradient are fetched to be written: mse_loss at 512 x 768, one Ice Lake core, 29.5
// GB/s, 25 without (a copy 35).
constexpr std::int64_t loss_bytes_ahead = 4096, gradient_bytes_ahead = 1024;

// Adds the losses of `count` elements, a multiple of the lanes, to the lanes of `sums` and writes what is
// wanted; elements[role] are those of the task's operand, null likewise.
template <class Loss, class T>
void add_losses(const ElementwiseLoss& task, T* const* elements, std::int64_t count, double* sums) {
    using C = compute_t<T>;
    constexpr int lanes = native<C>;
    constexpr std::int64_t ahead = loss_bytes_ahead / std::int64_t(sizeof(T));
    using V = Vec<C, lanes>;
    const Loss loss(task);
    const T* const x = elements[ElementwiseLoss::x];
    const T* const target = elements[ElementwiseLoss::target];
    const T* const dloss = elements[ElementwiseLoss::dloss];
    T* const losses = elements[ElementwiseLoss::losses];
    T* const gradient = elements[ElementwiseLoss::gradient];
    const V scale = broadcast<V>(C(task.scale));
    for (std::int64_t i = 0; i < count; i += lanes) {
        prefetch_read(x + i + ahead);
        prefetch_read(target + i + ahead);
        const auto result = loss.at(load<V>(x + i), load<V>(target + i));
        if (losses) store(losses + i, result.loss());
        if (task.sums) {
            double* const lane = sums + i % sum_lanes;
            store(lane, result.add_to(load<Vec<double, lanes>>(lane)));
        }
        if (gradient) {
            prefetch_write(gradient + i + gradient_bytes_ahead / std::int64_t(sizeof(T)));
            store(gradient + i, result.gradient() * (dloss ? load<V>(dloss + i) : scale));
        }
    }
}

// A gradient that is streamed is copied from a buffer this many elements at a time, so that reading and
// writing memory overlap, and no load waits for a streamed store to the same place of another page: mse_loss
// at 8192 x 4096 moved 17.4 GB/s on one Ice Lake core and 32.5 on two, with 256 elements 15.9 and 30.5, with
// 512 16.0 and 29.9 (copies 18 and 35).
constexpr std::int64_t streamed_piece = 128;
static_assert(streamed_piece % sum_lanes == 0, "elements keep their lanes");

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

// An element without loss, to fill the last register with.
template <class C>
struct NoLoss {
    C x, target;
};

// Segments [begin, end), by add_losses of some loss. A function of its own, which the losses of a type share.
template <class T>
FASTNORM_OUTLINE void for_segments(
    const ElementwiseLoss& task, std::int64_t begin, std::int64_t end, void* scratch,
    void (*add)(const ElementwiseLoss&, T* const*, std::int64_t, double*), NoLoss<compute_t<T>> filler
) {
    constexpr int roles = ElementwiseLoss::roles, first_result = ElementwiseLoss::losses;
    constexpr int lanes = native<compute_t<T>>;
    T* space[roles];
    T* next = static_cast<T*>(scratch);
    for (int k = 0; k < roles; ++k) {
        space[k] = next;
        if (!task.operands[k].contiguous) next += segment_elements;
    }
    alignas(64) T buffer[streamed_piece];
    const std::int64_t cols = task.shape.cols;
    for (std::int64_t column = begin * segment_elements; column < smaller(end * segment_elements, cols);
         column += segment_elements) {
        const std::int64_t count = smaller(segment_elements, cols - column);
        alignas(64) double sums[sum_lanes] = {};
        T* elements[roles];
        for (int k = 0; k < roles; ++k) {
            const Operand& operand = task.operands[k];
            elements[k] =
                operand.contiguous && operand.data ? reinterpret_cast<T*>(operand.data) + column : space[k];
            if (!operand.data) {
                elements[k] = nullptr;
            } else if (!operand.contiguous && k < first_result) {
                move_span<T, true>(task.shape, operand.inner_stride, operand.data, space[k], column, count);
            }
        }
        const std::int64_t rest = count % lanes, whole = count - rest;
        const std::int64_t length = task.stream ? streamed_piece : segment_elements;
        for (std::int64_t i = 0; i < whole; i += length) {
            const std::int64_t piece_count = smaller(length, whole - i);
            T* piece[roles];
            for (int k = 0; k < roles; ++k) piece[k] = elements[k] ? elements[k] + i : nullptr;
            if (task.stream) piece[ElementwiseLoss::gradient] = buffer;
            add(task, piece, piece_count, sums);
            if (task.stream) stream_elements(buffer, elements[ElementwiseLoss::gradient] + i, piece_count);
        }
        if (rest > 0) {
            const std::size_t bytes = std::size_t(rest) * sizeof(T);
            T last[roles][lanes];
            T* registers[roles];
            for (int k = 0; k < roles; ++k) {
                for (T& element : last[k])
                    narrow(k == ElementwiseLoss::x ? filler.x : filler.target, element);
                registers[k] = elements[k] ? last[k] : nullptr;
                if (elements[k] && k < first_result) std::memcpy(last[k], elements[k] + whole, bytes);
            }
            add(task, registers, lanes, sums + whole % sum_lanes);
            for (int k = first_result; k < roles; ++k) {
                if (elements[k]) std::memcpy(elements[k] + whole, last[k], bytes);
            }
        }
        if (task.sums) task.sums[column / segment_elements] = sum(load<Vec<double, sum_lanes>>(sums));
        for (int k = first_result; k < roles; ++k) {
            const Operand& operand = task.operands[k];
            if (operand.contiguous || !operand.data) continue;
            move_span<T, false>(task.shape, operand.inner_stride, operand.data, space[k], column, count);
        }
    }
}

FASTNORM_TARGET_END
