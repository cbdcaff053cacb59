#include "context/remembered.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>

#include "context/digest_bytes.h"
#include "context/listing.h"
#include "sys/files.h"

namespace corten::context {
namespace {

// The file is this machine's own: numbers are in its order.
constexpr std::string_view magic = "corten files 01\n";
constexpr std::size_t digest_size = 32;

}  // namespace

bool Remembered::before(const FileIdentity& a, const FileIdentity& b) {
  return std::tie(a.device, a.inode, a.ctime_ns, a.mtime_ns, a.size) <
         std::tie(b.device, b.inode, b.ctime_ns, b.mtime_ns, b.size);
}

Remembered Remembered::load(const std::string& path) {
  static_assert(sizeof(Record) == 72 && std::is_trivially_copyable_v<Record>);
  Remembered out;
  const auto text = sys::read_file(path, max_entries * sizeof(Record) + 64);
  if (!text || !text->starts_with(magic) || text->size() < magic.size() + digest_size) return out;
  const std::string_view body(text->data(), text->size() - digest_size);
  const auto sum = digest_bytes(oci::Digest::of(body));
  if (std::memcmp(sum.data(), text->data() + body.size(), digest_size) != 0) return out;
  const std::size_t bytes = body.size() - magic.size();
  out.records_.resize(bytes / sizeof(Record));
  std::memcpy(out.records_.data(), body.data() + magic.size(), out.records_.size() * sizeof(Record));
  return out;
}

void Remembered::add(const FileIdentity& identity, const oci::Digest& digest) {
  records_.push_back({identity, digest_bytes(digest)});
}

void Remembered::finish() { std::ranges::sort(records_, before, &Record::identity); }

std::optional<oci::Digest> Remembered::find(const FileIdentity& identity) const {
  const auto at = std::ranges::lower_bound(records_, identity, before, &Record::identity);
  if (at == records_.end() || at->identity != identity) return std::nullopt;
  return oci::Digest::from_bytes(at->digest);
}

Result<> Remembered::save(const std::string& path) const {
  std::string text(magic);
  const auto bytes = std::as_bytes(std::span(records_));
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto sum = digest_bytes(oci::Digest::of(text));
  text.append(reinterpret_cast<const char*>(sum.data()), sum.size());
  return sys::write_file_atomic(path, text, 0600);
}

}  // namespace corten::context
