// The way to a process's standard input: a bounded buffer in front of a pipe or a terminal's master.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "shim/loop.h"

namespace corten::shim {

class InputPipe final : public Handler {
 public:
  static constexpr std::size_t limit = 64U << 10;

  // `fd` is non-blocking. `on_room` is called when there is room again after there was none, or when the process no
  // longer reads and everything is taken and thrown away.
  InputPipe(Loop& loop, UniqueFd fd, std::function<void()> on_room)
      : loop_(loop), fd_(std::move(fd)), on_room_(std::move(on_room)) {}
  ~InputPipe() override { loop_.unwatch(fd_.get()); }

  std::size_t room() const { return fd_ ? limit - std::min(limit, waiting_.size()) : limit; }
  void write(std::string_view bytes);
  // The process sees the end once it has read what is waiting.
  void close_when_written();
  void on_ready(std::uint32_t events) override;

 private:
  // False: the pipe is gone.
  bool write_now(std::string_view& bytes);
  void close();

  Loop& loop_;
  UniqueFd fd_;
  std::function<void()> on_room_;
  std::string waiting_;
  bool closing_ = false;
};

}  // namespace corten::shim
