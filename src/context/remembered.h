// What a context's files were at the last sync, by stat identity alone: a file that is the same is the same under
// another name, too. Private to sessions.cc.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "context/walk.h"
#include "oci/digest.h"

namespace corten::context {

class Remembered {
 public:
  // Nothing where there is no file, or one that a crash has torn: it ends in a checksum.
  static Remembered load(const std::string& path);

  // Not after finish().
  void add(const FileIdentity& identity, const oci::Digest& digest);
  void finish();
  std::optional<oci::Digest> find(const FileIdentity& identity) const;
  Result<> save(const std::string& path) const;
  bool operator==(const Remembered& other) const = default;

 private:
  struct Record {
    FileIdentity identity;
    std::array<std::byte, 32> digest{};
    bool operator==(const Record&) const = default;
  };
  static bool before(const FileIdentity& a, const FileIdentity& b);
  std::vector<Record> records_;
};

}  // namespace corten::context
