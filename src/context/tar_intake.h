// A tar that comes whole (the classic API's context, ADD of an archive, a download) becomes a Listing and contents in
// the pool; no tree is written.
#pragma once

#include <memory>
#include <stop_token>

#include "base/error.h"
#include "context/listing.h"
#include "context/pool.h"
#include "store/archive.h"
#include "store/stream.h"

namespace corten::context {

struct TarIntakeOptions {
  store::ExtractLimits limits = {};
  // Of names, link targets and extended attributes together, those of hard links and of parents that are not listed
  // included.
  std::uint64_t description_bytes = 256ULL << 20;
  // The end marker must be there. Off for archives whose digest has been checked.
  bool need_end_marker = true;
  // Gzip, zstd, xz and bzip2 are undone first.
  bool decompress = true;
  // Owners as the archive has them; false: 0:0.
  bool owners = true;
};

// Reads the stream to its end. Contents are kept by `hold`. What the result is:
// - names count from the top, absolute or not; one with ".." that leads out of the top is refused;
// - parents that are not listed are directories 0755 of 0:0 with the time of what is in them;
// - of two entries of one name the later one stays; a directory takes an earlier one's place and keeps what is in it;
// - an entry below a name that is a symbolic link goes to where the link leads inside the tree, as if unpacked under
//   chroot; below a file: refused;
// - a hard link is a copy of the entry it names, which must have come before and not be a directory;
// - symbolic links are data: where they lead is looked up in the listing only, so none leads out;
// - names like .wh.x are plain names; sparse files are whole.
// `invalid`: not an archive, truncated, or breaks a limit. `exhausted`: disk full.
Result<Listing> take_tar(store::ByteSource& tar, Pool& pool, Hold& hold, const TarIntakeOptions& options = {},
                         const std::stop_token& stop = {});

}  // namespace corten::context
