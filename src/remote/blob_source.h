// Internal: what a BlobStream is made of.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/client.h"
#include "oci/digest.h"
#include "remote/blob_stream.h"
#include "remote/transport.h"

namespace corten::remote {

// Asks for the bytes from `offset` on. `first`: the transport may try as often as it likes.
using BlobOpener = std::function<Result<Answer>(std::uint64_t offset, bool first)>;

// Asks at once, so that a blob that is not there is known at once.
Result<BlobStream> open_blob(std::shared_ptr<Transport> transport, const oci::Digest& digest, std::uint64_t size,
                             FetchOptions options, BlobOpener opener);

}  // namespace corten::remote
