// nll_loss: -w_t x_t of rows x of log probabilities and their classes t, and its gradient, which is -w_t at t
// and 0 elsewhere. Of a row one element is read, where it lies.
#pragma once

#include <cstring>

#include "kernels/loops/row_tile.h"
#include "tasks/class_losses.h"

FASTNORM_TARGET_BEGIN

template <class T>
void nll_loss(const ClassLoss& task, std::int64_t begin, std::int64_t end, void* scratch) {
    using C = compute_t<T>;
    const Rows& shape = task.shape;
    char* space = static_cast<char*>(scratch);
    RowTile<T> gradient(shape, task.gradient, space);
    const C* weight = static_cast<const C*>(task.weight);
    const C* dloss = static_cast<const C*>(task.dloss);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        if (task.gradient.data) gradient.select(first);
        for (int i = 0; i < count; ++i) {
            const std::int64_t row = first + i, label = read_once(task.labels[row]);
            const bool counts = std::uint64_t(label) < std::uint64_t(shape.cols);
            const double factor = counts ? weight ? double(weight[label]) : 1 : 0;
            if (task.gradient.data) {
                T* const target = gradient.row(i);
                std::memset(target, 0, std::size_t(shape.cols) * sizeof(T));
                const double scale = dloss ? task.scale * double(dloss[row]) : task.scale;
                if (counts) narrow(C(-factor * scale), target[label]);
            }
            if (!task.losses) continue;
            const char* const at =
                task.logits.data +
                strided_offset(row, shape.outer_axes, shape.outer_extent, task.logits.outer_stride) +
                (counts
                     ? strided_offset(label, shape.inner_axes, shape.inner_extent, task.logits.inner_stride)
                     : 0);
            T element;
            std::memcpy(&element, at, sizeof element);
            task.losses[row] = counts ? -(factor * double(widen(element))) : 0;
        }
        if (task.gradient.data) gradient.write_back(first, count);
    }
}

FASTNORM_TARGET_END
