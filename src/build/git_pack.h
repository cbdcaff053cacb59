// The objects of a pack (gitformat-pack) from a server that may lie: everything is bounded, and an object is what its
// bytes hash to. Files go to the pool as they are found; folders, commits and tags stay here. Private to the fetching
// of repositories.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "context/pool.h"
#include "oci/digest.h"
#include "store/stream.h"

namespace corten::build {

enum class GitKind : std::uint8_t { commit = 1, tree = 2, blob = 3, tag = 4 };
std::string_view kind_name(GitKind kind);

// SHA-1, as Git names objects.
struct ObjectId {
  std::array<std::uint8_t, 20> bytes{};
  bool operator==(const ObjectId&) const = default;
  static std::optional<ObjectId> parse(std::string_view hex);
  std::string hex() const;
};
struct ObjectIdHash {
  std::size_t operator()(const ObjectId& id) const;
};

struct GitBlob {
  oci::Digest digest;
  std::uint64_t size = 0;
};
struct GitObject {
  GitKind kind = GitKind::blob;
  std::string text;  // but of blobs
  GitBlob blob;
};

struct PackLimits {
  std::uint64_t pack_bytes = 8ULL << 30;
  std::uint32_t objects = 5'000'000;
  std::uint64_t file_bytes = 4ULL << 30;      // a file that is whole in the pack
  std::uint64_t object_bytes = 256ULL << 20;  // in memory: what differences are taken of, and all that is no file
  std::uint64_t memory = 1ULL << 30;          // of all such at once
  std::uint64_t total_bytes = 64ULL << 30;    // of all objects
};

class GitObjects {
 public:
  GitObjects(context::Pool& pool, context::Hold& hold, PackLimits limits = {})
      : pool_(pool), hold_(hold), limits_(limits) {}

  // Reads a pack to its end, by way of an unnamed file in `directory`. `invalid`: it is broken, has an object whose
  // base is not in it, or breaks a limit.
  Result<> add(store::ByteSource& pack, const std::string& directory, const std::stop_token& stop);
  // nullptr: not there.
  const GitObject* find(const ObjectId& id) const;
  std::size_t size() const { return objects_.size(); }
  const std::unordered_map<ObjectId, GitObject, ObjectIdHash>& all() const { return objects_; }

 private:
  friend class PackReader;
  Result<> keep(const ObjectId& id, GitKind kind, std::string text);

  context::Pool& pool_;
  context::Hold& hold_;
  const PackLimits limits_;
  std::uint64_t kept_ = 0;  // bytes of texts
  std::unordered_map<ObjectId, GitObject, ObjectIdHash> objects_;
};

// What a difference makes of its base (gitformat-pack, "Deltified representation").
Result<std::string> apply_delta(std::string_view base, std::string_view delta, std::uint64_t max_bytes);

}  // namespace corten::build
