// How fast bytes move: a mean in which what is past counts ever less. Knows no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace corten::cli {

class TransferRate {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `bytes`: all so far. The first call begins.
  void take(std::int64_t bytes, Time now);
  Time start() const { return start_; }
  // Bytes in a second; falls while nothing is taken.
  double at(Time now) const;
  // How long the rest will take, rounded up; nullopt while that is a guess.
  std::optional<std::chrono::seconds> time_for(std::int64_t rest, Time now) const;

 private:
  bool begun_ = false;
  Time start_{}, measured_{};
  std::int64_t measured_bytes_ = 0;
  double rate_ = 0;
};

}  // namespace corten::cli
