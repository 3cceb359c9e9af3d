// The loops over rows of softmax and log_softmax.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/loops/exponential_rows.h"
#include "kernels/loops/row_tile.h"
#include "tasks/softmax.h"

FASTNORM_TARGET_BEGIN

// Calls row(x_row, y_row) for rows [begin, end), packed tile by tile where they are not contiguous.
template <class T, class Row>
FASTNORM_INLINE void for_rows(
    const SoftmaxForward& task, std::int64_t begin, std::int64_t end, char* space, Row row
) {
    RowTile<T> x(task.shape, task.x, space), y(task.shape, task.y, space);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        x.fetch(first, count);
        y.select(first);
        for (int i = 0; i < count; ++i) row(x.row(i), y.row(i));
        y.write_back(first, count);
    }
}
template <class T, class Row>
FASTNORM_INLINE void for_rows(
    const SoftmaxBackward& task, std::int64_t begin, std::int64_t end, char* space, Row row
) {
    RowTile<T> dy(task.shape, task.dy, space), x(task.shape, task.x, space), dx(task.shape, task.dx, space);
    for (std::int64_t first = begin; first < end; first += tile_rows) {
        const int count = int(smaller(tile_rows, end - first));
        dy.fetch(first, count);
        x.fetch(first, count);
        dx.select(first);
        for (int i = 0; i < count; ++i) row(dy.row(i), x.row(i), dx.row(i));
        dx.write_back(first, count);
    }
}

FASTNORM_TARGET_END
