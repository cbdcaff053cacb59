#include "cli/transfer_rate.h"

#include <algorithm>
#include <cmath>

namespace corten::cli {
namespace {

using std::chrono::duration;
using std::chrono::seconds;

constexpr std::chrono::milliseconds between_measurements{200};
constexpr double memory_seconds = 2;  // after this time a measurement has lost two thirds of its weight
constexpr seconds shortest_run_for_estimate{1};
constexpr seconds longest_estimate{99 * 3600};

double seconds_between(TransferRate::Time from, TransferRate::Time to) { return duration<double>(to - from).count(); }

}  // namespace

void TransferRate::take(std::int64_t bytes, Time now) {
  if (!begun_) {
    start_ = measured_ = now;
    measured_bytes_ = bytes;
    begun_ = true;
  }
  if (now - measured_ < between_measurements) return;
  const double time = seconds_between(measured_, now);
  // A transfer that begins anew takes bytes away; that is no speed.
  const double fresh = std::max(0.0, static_cast<double>(bytes - measured_bytes_) / time);
  // In the beginning the mean of all there was, so that a slow first moment does not count for seconds.
  const double weight = std::max(1 - std::exp(-time / memory_seconds), time / seconds_between(start_, now));
  rate_ += weight * (fresh - rate_);
  measured_ = now;
  measured_bytes_ = bytes;
}

double TransferRate::at(Time now) const {
  const double silence = seconds_between(measured_, now);
  return silence > 1 ? rate_ * std::exp(-(silence - 1) / memory_seconds) : rate_;
}

std::optional<seconds> TransferRate::time_for(std::int64_t rest, Time now) const {
  const double rate = at(now);
  if (rest <= 0 || rate < 1 || now - start_ < shortest_run_for_estimate) return std::nullopt;
  const double time = std::ceil(static_cast<double>(rest) / rate);
  if (time >= duration<double>(longest_estimate).count()) return std::nullopt;
  return seconds(static_cast<std::int64_t>(time));
}

}  // namespace corten::cli
