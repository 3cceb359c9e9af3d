#include "plan/buffer.h"

#include <new>

#include "runtime/cache.h"

namespace fastnorm {

Buffer::Buffer(std::size_t bytes) noexcept : bytes_(bytes) {
    if (bytes <= inline_bytes) {
        origin_ = Origin::inside;
        data_ = inside_;
    } else if (bytes >= smallest_cached_bytes) {
        origin_ = Origin::cache;
        data_ = acquire_block(bytes).data;
    } else {
        origin_ = Origin::heap;
        data_ = ::operator new(bytes, std::align_val_t(64), std::nothrow);
    }
}

Buffer::~Buffer() {
    if (origin_ == Origin::cache) release_block(data_, bytes_);
    if (origin_ == Origin::heap) ::operator delete(data_, std::align_val_t(64));
}

}  // namespace fastnorm
