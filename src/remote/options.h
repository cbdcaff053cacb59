// How patient a registry client is, what it believes, and what it reports.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace corten::remote {

// A pause that the caller may want to show. Told when it begins and then each second, with the time that is left.
struct Wait {
  enum class Reason : std::uint8_t { rate_limit, retry };
  Reason reason = Reason::retry;
  std::chrono::milliseconds time{0};
  std::string why;  // one line
};
using OnWait = std::function<void(const Wait&)>;

// What the registry last said of its limits (RateLimit-Limit, RateLimit-Remaining, Docker-RateLimit-Source).
struct RateLimit {
  std::int64_t limit = -1;  // requests in a window; -1: it did not say
  std::int64_t remaining = -1;
  std::chrono::seconds window{0};
  std::string source;
};

struct Options {
  std::string user_agent;             // empty: "corten/<version>"
  bool allow_foreign_layers = false;  // layers from URLs that a manifest names

  // A failed request is tried again this often in all, as is a broken download without progress in between.
  int attempts = 5;
  std::chrono::milliseconds first_back_off{500};  // doubled each time
  std::chrono::milliseconds max_back_off{10'000};
  std::chrono::milliseconds max_retry_after{60'000};  // a registry that wants a longer pause (429) is an error

  std::chrono::milliseconds connect_timeout{15'000};
  std::chrono::milliseconds head_timeout{60'000};       // for an answer to begin
  std::chrono::milliseconds commit_timeout{600'000};    // the same where the registry has a blob to check or move first
  std::chrono::milliseconds idle_timeout{30'000};       // longest silence within a body
  std::chrono::milliseconds document_timeout{120'000};  // for a manifest, a list, a token as a whole
  // A body must bring so much in each window of time spent waiting for it.
  std::chrono::milliseconds rate_window{30'000};
  std::uint64_t min_window_bytes = 32 << 10;

  std::size_t max_tags = 100'000;
  std::size_t max_pages = 1000;

  OnWait on_wait;  // from any thread that is in a call; calls that have one of their own tell that one instead
};

inline constexpr std::size_t max_manifest_size = 4 << 20;

}  // namespace corten::remote
