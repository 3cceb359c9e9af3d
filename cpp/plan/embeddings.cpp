#include "plan/embeddings.h"

#include <algorithm>
#include <cstring>

#include "plan/elementwise.h"

namespace fastnorm {

namespace {

// One thread's time for a row and for a byte of it, in cache.
constexpr double row_nanoseconds = 5, byte_nanoseconds = 0.05;
constexpr std::int64_t chunk_bytes = 16384;

template <int Size>
void gather_columns(const char* row, std::int64_t step, std::int64_t dim, char* target) {
    for (std::int64_t j = 0; j < dim; ++j, row += step, target += Size) std::memcpy(target, row, Size);
}

}  // namespace

Work gather_work(const Gather& gather) {
    const std::int64_t bytes = gather.table.shape[1] * item_size(gather.table.element);
    return {
        gather.count, chunk_bytes / std::max<std::int64_t>(bytes, 1) + 1,
        double(gather.count) * (row_nanoseconds + double(bytes) * byte_nanoseconds), 0
    };
}

bool run_gather(const Gather& gather, const Work& work) noexcept {
    const View& table = gather.table;
    const std::int64_t rows = table.shape[0], dim = table.shape[1], size = item_size(table.element);
    const std::int64_t step = table.strides[1], bytes = dim * size;
    return run_units(work, [&](std::int64_t begin, std::int64_t end, void*) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t id = read_once(gather.ids[i]);
            const char* row =
                table.data + (std::uint64_t(id) < std::uint64_t(rows) ? id : 0) * table.strides[0];
            char* target = gather.y + i * bytes;
            if (step == size || dim == 1) {
                std::memcpy(target, row, std::size_t(bytes));
            } else if (size == 4) {
                gather_columns<4>(row, step, dim, target);
            } else if (size == 8) {
                gather_columns<8>(row, step, dim, target);
            } else {
                gather_columns<2>(row, step, dim, target);
            }
        }
    });
}

Work plan_rotation(
    Rotation& task, Geometry& geometry, const View& x, const View& cosines, const View& sines, const View& y,
    bool warm
) {
    constexpr double element_nanoseconds = 0.1;
    std::ptrdiff_t strides[max_axes];
    const View table = broadcast(cosines, x, strides);
    const View* const arrays[] = {&x, &y, &table};
    geometry.set_leading(arrays, 3, x.ndim - 1);
    const std::int64_t size = item_size(x.element);
    task.shape = geometry.rows;
    task.x = geometry.operands[0];
    task.y = geometry.operands[1];
    task.cosines = cosines.data;
    task.sines = sines.data;
    task.table_stride = geometry.operands[2].outer_stride;
    task.pairs = cosines.shape[cosines.ndim - 1];
    task.stream = warm && 2 * x.bytes() > stream_bytes && x.data != y.data && task.y.contiguous;
    return {
        task.shape.rows, rows_per_chunk(task.shape, size), element_nanoseconds * double(x.size()),
        packing_bytes(geometry, 2, size)
    };
}

}  // namespace fastnorm
