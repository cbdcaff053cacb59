// What a running command has at hand: where to write, how to reach the daemon.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "client/client.h"

namespace corten::cli {

struct GlobalOptions {
  std::string host;  // of -H, else CORTEN_HOST, else DOCKER_HOST, else the context; empty: the default socket
  std::string config_directory;
  bool debug = false;
  std::string log_level = "info";
  bool tls = false;
  bool tls_verify = false;
  std::string tls_ca;
  std::string tls_certificate;
  std::string tls_key;
  std::string context;
};

inline constexpr std::string_view program_name = "corten";
inline constexpr std::string_view default_host = "unix:///run/corten/corten.sock";

class Context {
 public:
  Context(GlobalOptions options, int in, int out, int err);
  ~Context();

  // Standard output, collected and written in large pieces; flush() before anything that blocks.
  void print(std::string_view text);
  void print_line(std::string_view text);
  Result<> flush();
  // To standard error, without the control characters that a daemon or an image may have put in where that is a
  // terminal.
  void warn(std::string_view line);
  void complain(std::string_view text);  // the same for errors, the first line in red
  // "Error response from daemon: ..." or another one-line error to standard error.
  void report(const Error& error) { complain(error.text()); }

  int in() const { return in_; }
  int out() const { return out_; }
  int err() const { return err_; }
  const GlobalOptions& options() const { return options_; }

  // The client, made at the first call; connects when first used.
  Result<client::Client*> client();
  // The endpoint as errors show it.
  std::string endpoint() const;

  // The keys of the configuration file that commands look at ("psFormat", "detachKeys" …), empty where not set.
  std::string configured(std::string_view key);

 private:
  GlobalOptions options_;
  int in_, out_, err_;
  std::string pending_;
  std::unique_ptr<client::Client> client_;
  bool config_read_ = false;
  std::string config_text_;
};

// Runs the command line; returns the exit code. `words` is without the program's name.
int run_command_line(std::span<const std::string> words, int in = 0, int out = 1, int err = 2);

}  // namespace corten::cli
