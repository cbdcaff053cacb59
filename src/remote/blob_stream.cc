#include "remote/blob_stream.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "remote/blob_source.h"

namespace corten::remote {
namespace {

using SteadyClock = std::chrono::steady_clock;

// So much must have come for the attempts to be counted anew, and so often at most is a blob continued.
constexpr std::uint64_t min_progress = 64 << 10;
constexpr int max_resumed = 1000;

// "bytes 5-9/10": the first byte and the total, where it is told.
struct ContentRange {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> total;
};
std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const auto number = [&text](std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
  };
  ContentRange range;
  std::uint64_t last = 0;
  if (!number(range.first) || !text.starts_with('-')) return std::nullopt;
  text.remove_prefix(1);
  if (!number(last) || !text.starts_with('/')) return std::nullopt;
  text.remove_prefix(1);
  if (text == "*") return range;
  std::uint64_t total = 0;
  if (!number(total) || !text.empty()) return std::nullopt;
  range.total = total;
  return range;
}

// Only time spent waiting for the peer counts, not what the reader does between two reads.
class RateGuard {
 public:
  RateGuard(std::chrono::milliseconds window, std::uint64_t minimum) : window_(window), minimum_(minimum) {}
  // False: the window is over and brought too little.
  bool account(std::size_t bytes, SteadyClock::duration waited) {
    bytes_ += bytes;
    waited_ += waited;
    if (waited_ < window_) return true;
    const bool enough = bytes_ >= minimum_;
    restart();
    return enough;
  }
  void restart() {
    bytes_ = 0;
    waited_ = {};
  }

 private:
  std::chrono::milliseconds window_;
  std::uint64_t minimum_;
  std::uint64_t bytes_ = 0;
  SteadyClock::duration waited_{};
};

}  // namespace

struct BlobStream::State {
  State(std::shared_ptr<Transport> given_transport, const oci::Digest& given_digest, std::uint64_t given_size,
        FetchOptions given_options, BlobOpener given_opener)
      : transport(std::move(given_transport)),
        digest(given_digest),
        size(given_size),
        options(std::move(given_options)),
        opener(std::move(given_opener)),
        position(options.offset),
        last_start(options.offset),
        guard(transport->options().rate_window, transport->options().min_window_bytes) {}

  Result<> connect(bool first);
  // How many bytes the answer begins before where we are, if it is the blob's at all.
  Result<std::uint64_t> accept(const http::ClientResponse& answer) const;
  // Takes what comes before where we are.
  Result<> skip();
  void close();
  // After a failure: pauses, or gives it back where it is for good.
  Result<> recover(Error failure);
  Result<std::size_t> read(std::span<std::byte> into);
  Result<std::size_t> read_some(std::span<std::byte> into);
  Result<> finish();
  std::string name() const { return "blob " + digest.text(); }

  const std::shared_ptr<Transport> transport;
  const oci::Digest digest;
  const std::uint64_t size;
  FetchOptions options;
  const BlobOpener opener;

  std::uint64_t position;
  std::uint64_t last_start;  // where the counting of attempts began
  int failures = 0;
  int resumed = 0;
  std::uint64_t unwanted = 0;  // what the answer still has of bytes that are here already
  std::uint64_t discarded = 0;
  RateGuard guard;
  std::optional<Error> failed;
  bool done = false;

  std::optional<http::ClientResponse> response;  // ends when `options.stop` fires
};

void BlobStream::State::close() { response.reset(); }

Result<> BlobStream::State::connect(bool first) {
  auto answer = TRY(opener(position, first));
  unwanted = TRY(accept(answer.response));
  response = std::move(answer.response);
  guard.restart();
  return {};
}

Result<std::uint64_t> BlobStream::State::accept(const http::ClientResponse& answer) const {
  const auto coding = answer.headers().get("Content-Encoding");
  if (coding && *coding != "identity")
    return fail(ErrorKind::invalid, "{}: the registry sent it in another coding than its digest is of", name());
  const auto length = answer.content_length();
  std::uint64_t start = 0;
  if (answer.status() == 206) {
    const auto range = parse_content_range(answer.headers().get("Content-Range").value_or(""));
    if (!range || range->first != position)
      return fail(ErrorKind::invalid, "{}: the registry sent another part of it than was asked for", name());
    if (range->total && *range->total != size)
      return fail(ErrorKind::invalid, "{}: its size is {}, want {}", name(), *range->total, size);
    start = position;
  }
  if (length && *length != size - start)
    return fail(ErrorKind::invalid, "{}: its size is {}, want {}", name(), start + *length, size);
  return position - start;
}

Result<> BlobStream::State::skip() {
  std::array<std::byte, 64 << 10> scrap;
  while (unwanted > 0) {
    if (options.stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    const auto before = SteadyClock::now();
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(scrap.size(), unwanted));
    const std::size_t got = TRY(response->read(std::span(scrap).first(want)));
    if (got == 0) return fail(ErrorKind::unavailable, "the registry ended it early");
    unwanted -= got;
    discarded += got;
    if (unwanted > 0 && !guard.account(got, SteadyClock::now() - before))
      return fail(ErrorKind::deadline, "the registry sends too slowly");
  }
  return {};
}

Result<> BlobStream::State::recover(Error failure) {
  close();
  if (options.stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
  if (!is_transient(failure)) return std::unexpected(std::move(failure));
  if (position - last_start >= min_progress) failures = 0;
  last_start = position;
  if (++failures >= transport->options().attempts || ++resumed > max_resumed)
    return std::unexpected(std::move(failure).wrap(fmt::format("{} after {} of {} bytes", name(), position, size)));
  return transport->wait(Wait::Reason::retry, transport->back_off(failures), failure.text(), options.stop,
                         options.on_wait);
}

Result<std::size_t> BlobStream::State::read_some(std::span<std::byte> into) {
  if (!response) CHECK(connect(false));
  CHECK(skip());
  const auto before = SteadyClock::now();
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size - position));
  const std::size_t count = TRY(response->read(into.first(want)));
  if (count == 0) return fail(ErrorKind::unavailable, "the registry ended it early");
  if (options.hasher) options.hasher->update(into.first(count));
  position += count;
  // What came is good; it is the connection that is not.
  if (position < size && !guard.account(count, SteadyClock::now() - before))
    CHECK(recover(Error(ErrorKind::deadline, "the registry sends too slowly")));
  return count;
}

Result<std::size_t> BlobStream::State::read(std::span<std::byte> into) {
  if (into.empty()) return 0;
  while (position < size) {
    const auto before = position;
    auto count = read_some(into);
    if (count) return count;
    // Too slow for the last time: it was recover() itself that failed.
    if (position != before) return count;
    CHECK(recover(std::move(count).error()));
  }
  if (!done) CHECK(finish());
  done = true;
  return 0;
}

Result<> BlobStream::State::finish() {
  if (response && !response->content_length()) {
    std::byte more{};
    const auto count = response->read({&more, 1});
    if (count && *count > 0)
      return fail(ErrorKind::invalid, "{}: the registry sends more than its size of {} bytes", name(), size);
  }
  close();
  if (!options.hasher) return {};
  const auto actual = options.hasher->finish();
  if (actual == digest) return {};
  return fail(ErrorKind::invalid, "filesystem layer verification failed for digest {}: got {}", digest.text(),
              actual.text());
}

BlobStream::BlobStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlobStream::BlobStream(BlobStream&&) noexcept = default;
BlobStream& BlobStream::operator=(BlobStream&&) noexcept = default;
BlobStream::~BlobStream() = default;

Result<std::size_t> BlobStream::read(std::span<std::byte> into) {
  if (state_->failed) return std::unexpected(*state_->failed);
  auto count = state_->read(into);
  if (count) return count;
  state_->close();
  state_->failed = count.error();
  return count;
}

std::uint64_t BlobStream::size() const { return state_->size; }
std::uint64_t BlobStream::position() const { return state_->position; }
int BlobStream::resumed() const { return state_->resumed; }
std::uint64_t BlobStream::discarded() const { return state_->discarded; }

Result<BlobStream> open_blob(std::shared_ptr<Transport> transport, const oci::Digest& digest, std::uint64_t size,
                             FetchOptions options, BlobOpener opener) {
  if (options.offset > size)
    return fail(ErrorKind::invalid, "blob {}: cannot continue at byte {} of {}", digest.text(), options.offset, size);
  auto state =
      std::make_unique<BlobStream::State>(std::move(transport), digest, size, std::move(options), std::move(opener));
  // Nothing is missing: only the digest is left to be looked at.
  if (state->position < size || size == 0) CHECK(state->connect(true));
  return BlobStream(std::move(state));
}

}  // namespace corten::remote
