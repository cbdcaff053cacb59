// What a terminal sees while bytes move: one line on standard error, redrawn as it goes and gone when all is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "cli/context.h"
#include "cli/transfer_rate.h"

namespace corten::cli {

// One line of any text, cut to the window; gone with its owner. Nothing is drawn where it could not be taken back.
class StatusLine {
 public:
  StatusLine(const Context& context, bool wanted);
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() { clear(); }

  bool wanted() const { return wanted_; }
  bool drawn() const { return drawn_; }
  // Of the window, 80 where it does not say.
  std::size_t columns() const;
  void show(std::string_view text);
  void clear();

 private:
  int fd_;
  bool wanted_;
  bool drawn_ = false;
};

// How many bytes have passed, with a bar where their sum is known. Nothing is drawn unless standard error is a terminal
// that can be drawn on.
class TransferMeter {
 public:
  TransferMeter(const Context& context, std::string label, bool wanted, std::optional<std::uint64_t> total = {});
  TransferMeter(const TransferMeter&) = delete;
  TransferMeter& operator=(const TransferMeter&) = delete;

  void add(std::uint64_t bytes);
  // Takes the line away; it comes back with the next bytes.
  void clear() { line_.clear(); }

 private:
  StatusLine line_;
  std::string label_;
  std::optional<std::uint64_t> total_;
  std::uint64_t bytes_ = 0;
  TransferRate rate_;
  std::chrono::steady_clock::time_point next_{};
};

// For work that tells nothing until it is done: the seconds it has taken, on the same terms.
class Waiting {
 public:
  Waiting(const Context& context, std::string label);

 private:
  std::jthread thread_;
};

// The line for `bytes` of `total`: bar, rate and time left as far as they are known and fit.
std::string meter_line(std::string_view label, std::uint64_t bytes, std::optional<std::uint64_t> total,
                       const TransferRate& rate, TransferRate::Time now, std::size_t columns);

// The size of a regular file behind `fd`, nullopt for anything else.
std::optional<std::uint64_t> file_size(int fd);

}  // namespace corten::cli
