// A session with a container's streams: our standard streams on one side, an attach or exec connection on the other.
//
// One thread, one poll loop: typed bytes go out (with the detach keys watched for on a terminal), frames come in and
// are taken apart, signals are forwarded, and a changed window size is passed on.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "cli/context.h"
#include "cli/stdcopy.h"
#include "cli/terminal.h"
#include "client/client.h"

namespace corten::cli {

struct StreamOptions {
  bool tty = false;
  bool attach_stdin = false;
  bool attach_stdout = true;
  bool attach_stderr = true;
  bool multiplexed = true;                         // 8-byte frames; off for a terminal's raw bytes
  std::string detach_keys;                         // as --detach-keys, empty: the configured ones or ctrl-p,ctrl-q
  std::function<void(int signal)> on_signal;       // empty: signals have their ordinary effect
  std::function<void(WindowSize size)> on_resize;  // terminals only; also called once at the start
};

enum class StreamEnd : std::uint8_t { closed, detached };

class StreamSession {
 public:
  // Puts the terminal in raw mode where there is one to be, starts to collect signals.
  static Result<StreamSession> prepare(Context& context, StreamOptions options);

  // Until the stream ends and, where `until` is given, that answer has arrived as well; or the user detaches.
  Result<StreamEnd> run(client::Client::Stream& stream, const http::ClientResponse* until = nullptr);
  // Only forwards signals until the answer arrives (nothing is attached).
  Result<> wait_for(const http::ClientResponse& answer);
  // Gives the terminal back early, so that messages can be printed.
  void restore_terminal() { raw_.reset(); }

 private:
  StreamSession(Context& context, StreamOptions options)
      : context_(&context),
        options_(std::move(options)),
        frames_(options_.multiplexed, options_.attach_stdout ? context.out() : -1,
                options_.attach_stderr ? context.err() : -1) {}

  Result<bool> read_typed();
  void send_pending();
  void handle_signals();
  Result<StreamEnd> loop(int socket, const http::ClientResponse* until);

  Context* context_;
  StreamOptions options_;
  std::optional<RawMode> raw_;
  std::optional<SignalWatch> signals_;
  DetachFilter detach_{""};
  FrameReader frames_;
  int socket_ = -1;
  std::string pending_;  // typed, not yet sent
  bool typing_ = false;  // stdin is still open
  bool sending_ = true;  // the socket still takes bytes
};

}  // namespace corten::cli
