// The backward of rows of few columns, sixteen at a time across lanes (loops/column_tile.h): the bits are
// those of backward_in_float, which takes what is left. dweight and dbias are added to row after row.
#pragma once

#include "kernels/norms/parameter_sums.h"
#include "kernels/norms/tile_statistics.h"
#include "simd/transpose.h"

FASTNORM_TARGET_BEGIN

FASTNORM_INLINE bool all_in_range(TileDoubles values, double least, double most) {
    return all((values >= broadcast<TileDoubles>(least)) & (values <= broadcast<TileDoubles>(most)));
}

// Statistics of a tile that are given.
FASTNORM_INLINE TileDoubles given_statistic(const void* array, std::int64_t first) {
    if (!array) return broadcast<TileDoubles>(0);
    return load_row<TileDoubles>(static_cast<const float*>(array) + first);
}

// What the gradients of rows follow from: see Gradient.
struct TileGradient {
    TileCentre centre;
    TileFloats slope, offset;
};

// False where rows are to be taken one by one, by their statistics (fits_float), or since a mean that is
// given is none. Sums that are not wanted are taken, so that there is one function to compile.
FASTNORM_OUTLINE bool gradient_of_tile(
    const NormBackward& task, bool centred, const float* weight, std::int64_t first, TileColumns dy,
    TileColumns x, TileGradient& gradient
) {
    const std::int64_t cols = task.shape.cols, counted = centred ? cols : task.counted;
    TileStatistics rows;
    TileFloats mean;
    if (task.rstd) {
        rows = {given_statistic(task.mean, first), given_statistic(task.rstd, first)};
        mean = to_float(rows.mean);
    } else {
        rows = returned_of_tile(x, centred, counted, task.eps);
        mean = to_float(rows.mean);
        rows = {to_double(mean), to_double(to_float(rows.rstd))};
    }
    if (!all_in_range(rows.rstd, 0x1p-100, 0x1p100) || !all_in_range(rows.mean, -0x1p120, 0x1p120))
        return false;
    const auto sums = folded_columns<3, float>(
        cols, false, [&](auto& part, std::int64_t j, auto order) FASTNORM_INLINE_LAMBDA {
            const TileFloats h = dy.at(j) * broadcast<TileFloats>(weight[j]), d = x.at(j) - mean;
            part.add_product(0, h, d, order);
            part.add(1, h, order);
            part.add(2, d, order);
        }
    );
    const TileDoubles one_in_n = broadcast<TileDoubles>(1 / double(counted)),
                      zero = broadcast<TileDoubles>(0), h = centred ? sums.of[1] : zero,
                      rest = (centred ? sums.of[2] : zero) * one_in_n, factor = -rows.rstd * one_in_n,
                      h_xhat = rows.rstd * (sums.of[0] - rest * h);
    gradient = {
        {mean, to_float(rows.rstd), to_float(-rest * rows.rstd)},
        to_float(factor * h_xhat),
        to_float(factor * h)
    };
    return all(abs(rest) * rows.rstd <= broadcast<TileDoubles>(1));
}

// Adds what the rows of a group of columns are to dweight and dbias, row after row. Sums have room past their
// end.
FASTNORM_INLINE void add_rows(
    TileFloats (&dy)[column_group<float>], TileFloats (&xhat)[column_group<float>], float* dweight,
    float* dbias
) {
    constexpr int group = column_group<float>;
    using Row = Vec<float, group>;
    alignas(64) float dy_rows[tile_rows * group], xhat_rows[tile_rows * group];
    store_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return dy_rows + i * group; }, dy);
    store_column_group([&](int i) FASTNORM_INLINE_LAMBDA { return xhat_rows + i * group; }, xhat);
    Row weights = load<Row>(dweight), biases = load<Row>(dbias);
    for (int i = 0; i < tile_rows; ++i) {
        const Row row = load<Row>(dy_rows + i * group);
        weights = mul_add(row, load<Row>(xhat_rows + i * group), weights);
        biases = biases + row;
    }
    store(dweight, weights);
    store(dbias, biases);
}

// dx of the tile from row `first` on, and what its rows add to the sums of the parameters, where they are
// wanted. False, and nothing is done, where its rows are to be taken one by one.
FASTNORM_OUTLINE bool backward_tile(
    const NormBackward& task, bool centred, const ParameterSums<float>& sums, std::int64_t first,
    TileColumns dy, TileColumns x, TileColumns dx
) {
    constexpr int group = column_group<float>;
    const std::int64_t cols = task.shape.cols, counted = centred ? cols : task.counted;
    TileGradient gradient;
    if (!gradient_of_tile(task, centred, sums.weight, first, dy, x, gradient)) return false;
    for (std::int64_t next = 0; next < cols; next += group) {
        // Loads come before stores: see put_columns.
        TileFloats some_dy[group], some_xhat[group], some_dx[group];
        FASTNORM_UNROLL
        for (int k = 0; k < group; ++k) {
            const std::int64_t j = next + k;
            some_dy[k] = some_xhat[k] = broadcast<TileFloats>(0);
            if (j >= cols) continue;
            const TileFloats dy_j = dy.at(j), xhat = gradient.centre.normalised(x.at(j));
            const TileFloats along =
                j < counted ? mul_add(xhat, gradient.slope, gradient.offset) : broadcast<TileFloats>(0);
            some_dx[k] = mul_add(dy_j * broadcast<TileFloats>(sums.weight[j]), gradient.centre.rstd, along);
            some_dy[k] = dy_j, some_xhat[k] = xhat;
        }
        FASTNORM_UNROLL
        for (int k = 0; k < group; ++k) {
            if (next + k < cols) dx.put(next + k, some_dx[k]);
        }
        if (task.dweight_partials) add_rows(some_dy, some_xhat, sums.dweight + next, sums.dbias + next);
    }
    return true;
}

// The longest rows that a backward takes so, by whether columns are lines or have to be made by transposing
// three arrays. layer_norm_backward with statistics, ns a row one by one and so, one Zen 4 core: planes of
// 128 x 128, 16 channels 58 and 36, 32 channels 64 and 103; contiguous rows of 8 39 and 18, of 16 40 and 40.
constexpr std::int64_t backward_columns_of_lines = 16, backward_columns_of_rows = 8;

// The rows of a task, where they have few columns.
class FewBackward {
public:
    FASTNORM_OUTLINE FewBackward(const NormBackward& task, Element element, bool centred)
        : task_(task),
          centred_(centred),
          takes_(
              !task.unit_length && has_few_columns(task.shape, task.eps) &&
              describe_columns(task.shape, task.dy, element, dy_) &&
              describe_columns(task.shape, task.x, element, x_) &&
              describe_columns(task.shape, task.dx, element, dx_) &&
              task.shape.cols <= (x_.lines ? backward_columns_of_lines : backward_columns_of_rows)
          ) {}
    FASTNORM_INLINE bool takes() const { return takes_; }

    // The rows [first, first + count) of a block that ends at row `last`; false where they are to be taken
    // one by one. Tiles follow one another.
    FASTNORM_OUTLINE bool write(
        const ParameterSums<float>& sums, std::int64_t first, int count, std::int64_t last
    ) {
        if (first >= end_ && !start(first, last)) return false;
        const std::int64_t i = first - begin_;
        const TileColumns dy(dy_band_, i), x(x_band_, i), dx(dx_band_, i);
        const bool good = backward_tile(task_, centred_, sums, first, dy, x, dx);
        if (!good || first + count == end_) {
            // Rows that are taken one by one are written by themselves.
            const std::int64_t done = good ? end_ : first;
            if (dx_band_.moved && done > written_)
                write_band(dx_, written_, done - written_, x_room_ + (written_ - begin_) * task_.shape.cols);
            written_ = first + count;
        }
        return good;
    }

private:
    FASTNORM_INLINE bool start(std::int64_t first, std::int64_t last) {
        std::int64_t run;
        const std::int64_t count = rows_of_band(task_.shape, first, last - first, run);
        if (count == 0) return false;
        // dx takes the place of x.
        dx_band_ = band_to_write(dx_, first, x_room_);
        x_band_ = band_to_read(x_, first, count, x_room_);
        dy_band_ = band_to_read(dy_, first, count, dy_room_);
        begin_ = written_ = first, end_ = first + count;
        return true;
    }

    const NormBackward& task_;
    const bool centred_;
    FewColumns dy_, x_, dx_;
    const bool takes_;
    Band dy_band_, x_band_, dx_band_;
    std::int64_t begin_ = 0, written_ = 0, end_ = 0;
    alignas(64) float dy_room_[band_room], x_room_[band_room];
};

FASTNORM_TARGET_END
