// The forward of rows of few columns, sixteen at a time across lanes (loops/column_tile.h): the bits are
// those of NormRows, which takes what is left.
#pragma once

#include "kernels/norms/tile_statistics.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// Normalises the tile from row `first` on and returns its statistics, where the task wants them; false, and
// nothing is written, where its rows are to be taken one by one.
FASTNORM_OUTLINE bool normalise_tile(
    const NormForward& task, bool centred, std::int64_t first, TileColumns columns, TileColumns results
) {
    const std::int64_t cols = task.shape.cols, counted = centred ? cols : task.counted;
    TileStatistics rows;
    if (!measure_tile(columns, centred, counted, task.eps, rows)) return false;
    const TileFloats mean = to_float(rows.mean);
    const TileCentre centre = {
        mean, to_float(rows.rstd), -to_float((rows.mean - to_double(mean)) * rows.rstd)
    };
    if (task.mean || task.rstd) {
        rows = returned_of_tile(columns, centred, counted, task.eps);
        if (task.mean) store(static_cast<float*>(task.mean) + first, to_float(rows.mean));
        if (task.rstd) store(static_cast<float*>(task.rstd) + first, to_float(rows.rstd));
    }
    const float* const weights = static_cast<const float*>(task.weight);
    const float* const biases = static_cast<const float*>(task.bias);
    put_columns(cols, results, [&](std::int64_t j) FASTNORM_INLINE_LAMBDA {
        const TileFloats weight = broadcast<TileFloats>(weights ? weights[j] : 1),
                         bias = broadcast<TileFloats>(biases ? biases[j] : -0.0f);
        return mul_add(centre.normalised(columns.at(j)), weight, bias);
    });
    return true;
}

// The rows of a task, where they have few columns.
class FewForward {
public:
    FASTNORM_OUTLINE FewForward(const NormForward& task, Element element, bool centred)
        : task_(task),
          centred_(centred),
          takes_(
              !task.unit_length && has_few_columns(task.shape, task.eps) &&
              describe_columns(task.shape, task.x, element, x_) &&
              describe_columns(task.shape, task.y, element, y_)
          ) {}
    FASTNORM_INLINE bool takes() const { return takes_; }

    // Writes y of the first rows of [first, end) and returns how many. Where that is none, those before
    // `by_row` are to be taken one by one: the end of an axis, or a band with a row that NormRows has to
    // take.
    FASTNORM_OUTLINE std::int64_t write(std::int64_t first, std::int64_t end, std::int64_t& by_row) const {
        alignas(64) float room[band_room];
        std::int64_t run, done = 0;
        const std::int64_t count = rows_of_band(task_.shape, first, end - first, run);
        by_row = first + (count > 0 ? count : run);
        if (count == 0) return 0;
        const Band target = band_to_write(y_, first, room);
        const Band source = band_to_read(x_, first, count, room);
        while (done < count) {
            const TileColumns columns(source, done), results(target, done);
            if (!normalise_tile(task_, centred_, first + done, columns, results)) break;
            done += tile_rows;
        }
        if (target.moved && done > 0) write_band(y_, first, done, room);
        return done;
    }

private:
    const NormForward& task_;
    const bool centred_;
    FewColumns x_, y_;
    const bool takes_;
};

FASTNORM_TARGET_END
