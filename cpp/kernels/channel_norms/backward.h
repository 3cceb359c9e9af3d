// The gradients of batch_norm, group_norm and instance_norm. With h = dy * weight, xhat = (x - mean) * rstd,
// the sums and means over the n = outer * inner values of a channel:
//   dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), or rstd * h where the statistics are not functions of
//   x; dweight = sum dy * xhat,  dbias = sum dy.
//
// The means follow from sums over planes (or columns) of dy, dy * d and d, d = x - mean: the weight is the
// same all over a plane. A given mean is rounded; sum d / n is what it lacks (see norm_backward.h), so xhat =
// (d - rest) * rstd and
//   dx = dy * rstd * weight + d * slope + offset,
//   slope = -rstd^3 * (sum h * d - rest * sum h) / n,  offset = -rstd * sum h / n - slope * rest.
// dy and x are read from memory once where a group of channels fits in the second-level cache.
#pragma once

#include "kernels/channel_norms/forward.h"
#include "kernels/norms/backward.h"

FASTNORM_TARGET_BEGIN

// ---- sums -------------------------------------------------------------------------------------------------

// The sums of the planes of one block and channels [begin, end).
template <class T>
void block_sums(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, const Partials& partials, std::int64_t block,
    std::int64_t begin, std::int64_t end
) {
    using S = compute_t<T>;
    const Channels& size = task.forward.size;
    const std::int64_t start = block * size.block_outer, stop = smaller(start + size.block_outer, size.outer);
    for (std::int64_t o = start; o < stop; ++o) {
        for (std::int64_t c = begin; c < end; c += tile_rows) {
            const std::int64_t first = o * size.channels + c;
            const int count = int(smaller(tile_rows, end - c));
            dy.fetch(first, count);
            x.fetch(first, count);
            for (int i = 0; i < count; ++i) {
                const T* const dy_row = dy.row(i);
                const T* const x_row = x.row(i);
                T* const no_target = const_cast<T*>(x_row);
                const double mean = task.forward.mean[c + i];
                RowSums sums;
                if (sizeof(S) == 8 || offset_fits(mean)) {
                    const Centre<S> centre{S(mean), 1, 0, 1};
                    backward_sums<true, 1>(
                        &dy_row, &x_row, &no_target, &centre, Parameters<S>(nullptr, nullptr), size.inner,
                        &sums
                    );
                } else {
                    const Centre<double> centre{mean, 1, 0, 1};
                    backward_sums<true, 1>(
                        &dy_row, &x_row, &no_target, &centre, Parameters<S>(nullptr, nullptr), size.inner,
                        &sums
                    );
                }
                const double values[] = {sums.h, sums.h_x, sums.x};
                for (int kind = 0; kind < 3; ++kind) {
                    double* const sum = partials.at(kind, block, c + i);
                    *sum = o > start ? *sum + values[kind] : values[kind];
                }
            }
        }
    }
}

// Sums of dy, dy * d and d of a vector of columns over the rows of a tile, in compute type C.
template <class C, class T, class Step>
FASTNORM_INLINE void column_sums(
    const T* const* dy, const T* const* x, int count, std::int64_t cols, std::int64_t j, Step step,
    Vec<C, row_lanes> centre, Vec<double, row_lanes>* sums
) {
    using V = Vec<C, row_lanes>;
    V dy_sum = broadcast<V>(0), dy_d_sum = dy_sum, d_sum = dy_sum;
    for (int r = 0; r < count; ++r) {
        prefetch_read(dy[r] + tile_rows * cols + j);
        prefetch_read(x[r] + tile_rows * cols + j);
        const V dy_r = load_columns<V>(dy[r] + j, step), d = load_columns<V>(x[r] + j, step) - centre;
        dy_sum = dy_sum + dy_r;
        dy_d_sum = mul_add(dy_r, d, dy_d_sum);
        d_sum = d_sum + d;
    }
    if constexpr (sizeof(C) == 8) {
        sums[0] = dy_sum, sums[1] = dy_d_sum, sums[2] = d_sum;
    } else {
        sums[0] = to_double(dy_sum), sums[1] = to_double(dy_d_sum), sums[2] = to_double(d_sum);
    }
}

// The sums of each column over one block of rows: in the compute type over a tile, then in double.
template <class T>
void block_column_sums(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, const Partials& partials, std::int64_t block
) {
    using D = Vec<double, row_lanes>;
    using S = compute_t<T>;
    const Channels& size = task.forward.size;
    const std::int64_t cols = size.columns();
    const std::int64_t start = block * size.block_outer, stop = smaller(start + size.block_outer, size.outer);
    const double* const centres = task.coefficients;
    for (std::int64_t first = start; first < stop; first += tile_rows) {
        const int count = int(smaller(tile_rows, stop - first));
        dy.fetch(first, count);
        x.fetch(first, count);
        const T* dy_rows[tile_rows];
        const T* x_rows[tile_rows];
        for (int r = 0; r < count; ++r) dy_rows[r] = dy.row(r), x_rows[r] = x.row(r);
        const bool begins = first == start;
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            const D centre = load_columns<D>(centres + j, step);
            D sums[3];
            column_sums<S>(dy_rows, x_rows, count, cols, j, step, as_stored<S>(centre), sums);
            if constexpr (sizeof(S) == 4) {
                const auto fits = abs(centre) <= broadcast<D>(0x1p120);
                if (any(!fits)) {
                    D exact[3];
                    column_sums<double>(dy_rows, x_rows, count, cols, j, step, centre, exact);
                    for (int kind = 0; kind < 3; ++kind) sums[kind] = select(fits, sums[kind], exact[kind]);
                }
            }
            FASTNORM_UNROLL
            for (int kind = 0; kind < 3; ++kind) {
                double* const total = partials.at(kind, block, j);
                store_columns(total, begins ? sums[kind] : load_columns<D>(total, step) + sums[kind], step);
            }
        });
    }
}

// ---- slopes -----------------------------------------------------------------------------------------------

// dweight, dbias, slope and offset of channels [begin, end) from the sums.
template <class S>
void finish_sums(
    const ChannelBackward& task, const Partials& partials, std::int64_t begin, std::int64_t end
) {
    using V = Vec<double, row_lanes>;
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const std::int64_t per_channel = size.columns() / size.channels;
    const double n = size.count();
    const bool by_plane = size.weight_outer_step != 0;  // the weight is not that of the channel
    if (!by_plane) {
        for (int kind = 0; kind < 3; ++kind) {
            for_columns<row_lanes>(
                begin * per_channel, end * per_channel,
                [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                    V total = load_columns<V>(partials.at(kind, 0, j), step);
                    for (std::int64_t block = 1; block < partials.blocks; ++block) {
                        total = total + load_columns<V>(partials.at(kind, block, j), step);
                    }
                    store_columns(partials.at(kind, 0, j), total, step);
                }
            );
        }
    }
    for (std::int64_t c = begin; c < end; ++c) {
        const double rstd = forward.rstd[c];
        // What the rounded mean lacks: found from x, or known where the statistics are given for good.
        const double known = forward.mean[c] - double(S(forward.mean[c]));
        const auto lacking = [&](double sum) { return task.through ? sum / n : known; };
        double h = 0, h_d = 0, d = 0;
        if (by_plane) {
            for (std::int64_t o = 0; o < size.outer; ++o) {
                const double weight = parameter_of<S>(size, forward.weight, o, c, 1);
                h += weight * *partials.at(0, o, c);
                h_d += weight * *partials.at(1, o, c);
                d += *partials.at(2, o, c);
            }
        } else {
            double sums[3] = {};
            for (int kind = 0; kind < 3; ++kind) {
                for (std::int64_t l = 0; l < per_channel; ++l)
                    sums[kind] += *partials.at(kind, 0, c * per_channel + l);
            }
            d = sums[2];
            const double weight = parameter_of<S>(size, forward.weight, 0, c, 1);
            if (task.dweight) static_cast<S*>(task.dweight)[c] = S(rstd * (sums[1] - lacking(d) * sums[0]));
            if (task.dbias) static_cast<S*>(task.dbias)[c] = S(sums[0]);
            h = weight * sums[0];
            h_d = weight * sums[1];
        }
        const double rest = lacking(d);
        if (task.plane_dweight) {
            for (std::int64_t o = 0; o < size.outer; ++o) {
                const double dy = *partials.at(0, o, c);
                task.plane_dweight[o * size.channels + c] = rstd * (*partials.at(1, o, c) - rest * dy);
                task.plane_dbias[o * size.channels + c] = dy;
            }
        }
        const double slope = -rstd * rstd * rstd * (h_d - rest * h) / n;
        task.slope[c] = task.through ? slope : 0;
        task.offset[c] = task.through ? -rstd * h / n - slope * rest : 0;
    }
}

// The coefficients of the columns of channels [begin, end): for the sums only the mean is needed, and known.
template <class S>
void gradient_coefficients(const ChannelBackward& task, std::int64_t begin, std::int64_t end) {
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const std::int64_t cols = size.columns();
    for (std::int64_t c = begin; c < end; ++c) {
        const double values[] = {
            forward.mean[c], forward.rstd[c] * parameter_of<S>(size, forward.weight, 0, c, 1), task.slope[c],
            task.offset[c]
        };
        for (std::int64_t j = c * size.inner; j < (c + 1) * size.inner; ++j) {
            for (int k = 0; k < 4; ++k) task.coefficients[k * cols + j] = values[k];
        }
    }
}

// ---- dx ---------------------------------------------------------------------------------------------------

struct Slopes {
    double centre, factor, slope, offset;
};

template <class T, class C>
void plane_gradient(
    const T* dy, const T* x, T* dx, std::int64_t cols, const Slopes& slopes, bool through, bool streaming
) {
    using V = Vec<C, row_lanes>;
    const V factor = broadcast<V>(C(slopes.factor));
    if (!through) {
        return write_row<V>(dx, cols, streaming, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            return load_columns<V>(dy + j, step) * factor;
        });
    }
    const V centre = broadcast<V>(C(slopes.centre)), slope = broadcast<V>(C(slopes.slope));
    const V offset = broadcast<V>(C(slopes.offset));
    write_row<V>(dx, cols, streaming, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V along = mul_add(load_columns<V>(x + j, step) - centre, slope, offset);
        return mul_add(load_columns<V>(dy + j, step), factor, along);
    });
}

// A tile of planes of one outer index, from channel c on.
template <class T>
void plane_gradients(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, RowTile<T>& dx, std::int64_t o,
    std::int64_t c, int count
) {
    using S = compute_t<T>;
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    const std::int64_t first = o * size.channels + c;
    const bool streaming = streams_planes(task.stream, size, sizeof(T));
    dy.fetch(first, count);
    if (task.through) x.fetch(first, count);
    dx.select(first);
    for (int i = 0; i < count; ++i) {
        const double factor = forward.rstd[c + i] * parameter_of<S>(size, forward.weight, o, c + i, 1);
        const Slopes slopes{forward.mean[c + i], factor, task.slope[c + i], task.offset[c + i]};
        const bool fits = sizeof(S) == 8 || (factor_fits(factor) && factor_fits(slopes.slope) &&
                                             offset_fits(slopes.centre) && offset_fits(slopes.offset));
        (fits ? plane_gradient<T, S>
              : plane_gradient<T, double>)(dy.row(i), task.through ? x.row(i) : dy.row(i), dx.row(i),
                                           size.inner, slopes, task.through, streaming);
    }
    dx.write_back(first, count);
}

template <class T>
void column_gradients(
    const ChannelBackward& task, RowTile<T>& dy, RowTile<T>& x, RowTile<T>& dx, std::int64_t first, int count
) {
    const std::int64_t cols = task.forward.size.columns();
    const bool through = task.through;
    dy.fetch(first, count);
    if (through) x.fetch(first, count);
    dx.select(first);
    const T* dy_rows[tile_rows];
    const T* x_rows[tile_rows];
    T* targets[tile_rows];
    for (int r = 0; r < count; ++r) {
        dy_rows[r] = dy.row(r), targets[r] = dx.row(r);
        x_rows[r] = through ? x.row(r) : dy_rows[r];
    }
    write_column_rows<4>(
        task.coefficients, cols, targets, count,
        are_adjacent(dy_rows, count, cols) && are_adjacent(x_rows, count, cols) &&
            are_adjacent(targets, count, cols),
        through, task.stream,
        [&](int r, std::int64_t j, auto step, const auto* values) FASTNORM_INLINE_LAMBDA {
            auto centre = values[0];
            using V = decltype(centre);
            const V change = load_columns<V>(dy_rows[r] + j, step);
            if (!through) return change * values[1];
            const V along = mul_add(load_columns<V>(x_rows[r] + j, step) - centre, values[2], values[3]);
            return mul_add(change, values[1], along);
        }
    );
    dx.write_back(first, count);
}

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T>
void channel_sums(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, task.forward.x, space);
    const Partials partials{task.partials, size.blocks(), size.columns(), 0};
    for (std::int64_t block = begin; block < end; ++block) {
        if (size.planes) {
            block_sums<T>(task, dy, x, partials, block, 0, size.channels);
        } else {
            block_column_sums<T>(task, dy, x, partials, block);
        }
    }
}

template <class T>
void channel_slopes(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void*) {
    using S = compute_t<T>;
    if (task.sums)
        finish_sums<S>(
            task, {task.partials, task.forward.size.blocks(), task.forward.size.columns(), 0}, begin, end
        );
    if (task.coefficients) gradient_coefficients<S>(task, begin, end);
}

template <class T>
void channel_gradient(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const Channels& size = task.forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, task.forward.x, space),
        dx(size.shape, task.dx, space);
    for (std::int64_t tile = begin; tile < end; ++tile) {
        if (size.planes) {
            const std::int64_t o = tile / size.tiles_across(), c = tile % size.tiles_across() * tile_rows;
            plane_gradients<T>(task, dy, x, dx, o, c, int(smaller(tile_rows, size.channels - c)));
        } else {
            const std::int64_t first = tile * tile_rows;
            column_gradients<T>(task, dy, x, dx, first, int(smaller(tile_rows, size.outer - first)));
        }
    }
}

template <class T>
void channel_norm_backward(const ChannelBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const ChannelForward& forward = task.forward;
    const Channels& size = forward.size;
    char* space = static_cast<char*>(scratch);
    RowTile<T> dy(size.shape, task.dy, space), x(size.shape, forward.x, space),
        dx(size.shape, task.dx, space);
    for (std::int64_t group = begin; group < end; ++group) {
        const std::int64_t first = group * size.group, last = smaller(first + size.group, size.channels);
        const Partials partials{reinterpret_cast<double*>(space), size.blocks(), size.group, first};
        if (task.recompute) {
            for (std::int64_t block = 0; block < size.blocks(); ++block) {
                block_moments<T>(forward, x, x, partials, block, first, last);
            }
            finish_statistics<compute_t<T>>(forward, partials, first, last);
        }
        for (std::int64_t block = 0; block < size.blocks(); ++block) {
            block_sums<T>(task, dy, x, partials, block, first, last);
        }
        finish_sums<compute_t<T>>(task, partials, first, last);
        for (std::int64_t o = 0; o < size.outer; ++o) {
            for (std::int64_t c = first; c < last; c += tile_rows) {
                plane_gradients<T>(task, dy, x, dx, o, c, int(smaller(tile_rows, last - c)));
            }
        }
    }
}

FASTNORM_TARGET_END
