// Walks over the planes of the channel norms in the order of their rows, a tile at a time.
#pragma once

#include "simd/rows.h"
#include "tasks/channel_norms.h"

FASTNORM_TARGET_BEGIN

// `count` planes whose rows follow one another, and where each belongs.
struct PlaneTile {
    std::int64_t first;
    int count;
    std::int64_t outer[tile_rows], channel[tile_rows];
};

// Rows are numbered (major, minor): (outer, channel), or (channel, outer) where channels are grouped.
class PlaneTiles {
public:
    // The planes of outer indices [start, stop) and channels [begin, end).
    PlaneTiles(
        const Channels& size, std::int64_t start, std::int64_t stop, std::int64_t begin, std::int64_t end
    )
        : grouped_(size.grouped()), minors_(grouped_ ? size.outer : size.channels) {
        major_ = grouped_ ? begin : start;
        lowest_ = minor_ = grouped_ ? start : begin;
        end_ = grouped_ ? stop : end;
        left_ = (stop - start) * (end - begin);
    }
    // The planes of rows [first, last).
    PlaneTiles(const Channels& size, std::int64_t first, std::int64_t last)
        : grouped_(size.grouped()), minors_(grouped_ ? size.outer : size.channels) {
        major_ = first / minors_;
        minor_ = first - major_ * minors_;
        lowest_ = 0;
        end_ = minors_;
        left_ = last - first;
    }

    FASTNORM_OUTLINE bool next(PlaneTile& tile) {
        const bool adjacent = end_ - lowest_ == minors_;  // the last of a major and the first of the next
        tile.first = major_ * minors_ + minor_;
        tile.count = int(smaller(tile_rows, adjacent ? left_ : smaller(left_, end_ - minor_)));
        for (int i = 0; i < tile.count; ++i) {
            tile.outer[i] = grouped_ ? minor_ : major_;
            tile.channel[i] = grouped_ ? major_ : minor_;
            if (++minor_ == end_) minor_ = lowest_, ++major_;
        }
        left_ -= tile.count;
        return tile.count > 0;
    }

private:
    bool grouped_;
    std::int64_t minors_;  // of every major
    std::int64_t major_, minor_, lowest_, end_, left_;
};

FASTNORM_TARGET_END
