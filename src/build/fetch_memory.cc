#include "build/fetch_memory.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "sys/files.h"

namespace corten::build {
namespace {

constexpr std::size_t max_remembered = 1000;
constexpr std::size_t max_bytes = 16U << 20;
constexpr std::size_t max_field = 2048;

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> fields;
  for (;;) {
    const std::size_t tab = line.find('\t');
    fields.emplace_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return fields;
    line.remove_prefix(tab + 1);
  }
}

template <class Number>
bool read(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Fetched> decode(std::string_view line) {
  auto fields = split(line);
  if (fields.size() != 7) return std::nullopt;
  auto digest = oci::Digest::parse(fields[4]);
  if (!digest) return std::nullopt;
  Fetched fetched{.url = std::move(fields[0]),
                  .etag = std::move(fields[1]),
                  .last_modified = std::move(fields[2]),
                  .name = std::move(fields[3]),
                  .digest = std::move(*digest)};
  if (!read(fields[5], fetched.size) || !read(fields[6], fetched.mtime_ns)) return std::nullopt;
  return fetched;
}

bool fits(std::string_view text) {
  return text.size() <= max_field && text.find_first_of(std::string_view("\t\n\r\0", 4)) == std::string_view::npos;
}

}  // namespace

FetchMemory::FetchMemory(std::string file) : file_(std::move(file)) {
  const MutexLock lock(mutex_);
  load();
}

void FetchMemory::load() {
  const auto text = sys::read_file(file_, max_bytes);
  if (!text) return;
  for (std::string_view rest = *text; !rest.empty() && all_.size() < max_remembered;) {
    const std::size_t end = rest.find('\n');
    if (auto one = decode(rest.substr(0, end))) all_.push_back(std::move(*one));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
}

std::optional<Fetched> FetchMemory::find(std::string_view url) {
  const std::string key = oci::Digest::of(url).text();
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find(all_, key, &Fetched::url);
  if (found == all_.end()) return std::nullopt;
  all_.splice(all_.begin(), all_, found);
  return *found;
}

void FetchMemory::remember(Fetched fetched) {
  if (!fits(fetched.etag) || !fits(fetched.last_modified) || !fits(fetched.name)) return;
  fetched.url = oci::Digest::of(fetched.url).text();
  std::string text;
  {
    const MutexLock lock(mutex_);
    all_.remove_if([&](const Fetched& one) { return one.url == fetched.url; });
    all_.push_front(std::move(fetched));
    if (all_.size() > max_remembered) all_.pop_back();
    for (const auto& one : all_)
      text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", one.url, one.etag, one.last_modified, one.name,
                          one.digest.text(), one.size, one.mtime_ns);
  }
  static_cast<void>(sys::write_file_atomic(file_, text, 0600));
}

}  // namespace corten::build
