// Runs a callable on scope exit unless cancelled: the undo of a step that later steps may still fail.
#pragma once

#include <utility>

namespace corten {

template <class Callback>
class [[nodiscard]] Cleanup {
 public:
  explicit Cleanup(Callback callback) : callback_(std::move(callback)) {}
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  ~Cleanup() {
    if (armed_) callback_();
  }
  void cancel() { armed_ = false; }

 private:
  Callback callback_;
  bool armed_ = true;
};

}  // namespace corten
