// What a container is: Docker's container configuration, part one (what the image may also say).
//
// Plain data; field names and JSON forms as in the Engine API definition (ContainerConfig, HealthConfig). The engine,
// the database and the API use these structs alike.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "json/codec.h"

namespace corten::spec {

// A command line that clients write as an array or, loosely, as one string. Absent (null) and empty differ: an empty
// entrypoint erases the image's, an absent one keeps it; hence std::optional<Command> where it is used.
struct Command {
  std::vector<std::string> args;
  bool operator==(const Command&) const = default;
};

// {"80/tcp": {}} and {"/data": {}}: sets, in the form Go's map[T]struct{} has on the wire.
using Set = std::map<std::string, json::Nothing>;
using Strings = std::vector<std::string>;
using Labels = std::map<std::string, std::string>;

struct HealthConfig {
  Strings test;                               // {} inherit, {"NONE"} off, {"CMD", arg...}, {"CMD-SHELL", line}
  std::chrono::nanoseconds interval{};        // 0: 30 s
  std::chrono::nanoseconds timeout{};         // 0: 30 s
  std::chrono::nanoseconds start_period{};    // failures before this do not count
  std::chrono::nanoseconds start_interval{};  // interval while starting; 0: 5 s
  int retries = 0;                            // 0: 3

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Test", self.test, json::omit_empty);
    visit("Interval", self.interval, json::omit_empty);
    visit("Timeout", self.timeout, json::omit_empty);
    visit("StartPeriod", self.start_period, json::omit_empty);
    visit("StartInterval", self.start_interval, json::omit_empty);
    visit("Retries", self.retries, json::omit_empty);
  }
};

struct ContainerConfig {
  std::string hostname;
  std::string domainname;
  std::string user;
  bool attach_stdin = false;
  bool attach_stdout = false;
  bool attach_stderr = false;
  Set exposed_ports;
  bool tty = false;
  bool open_stdin = false;
  bool stdin_once = false;
  Strings env;
  std::optional<Command> cmd;
  std::optional<HealthConfig> healthcheck;
  bool args_escaped = false;
  std::string image;
  Set volumes;
  std::string working_dir;
  std::optional<Command> entrypoint;
  bool network_disabled = false;
  std::string mac_address;  // before API 1.44; later in the endpoint settings
  Strings on_build;
  Labels labels;
  std::string stop_signal;
  std::optional<int> stop_timeout;  // seconds
  std::optional<Command> shell;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Hostname", self.hostname);
    visit("Domainname", self.domainname);
    visit("User", self.user);
    visit("AttachStdin", self.attach_stdin);
    visit("AttachStdout", self.attach_stdout);
    visit("AttachStderr", self.attach_stderr);
    visit("ExposedPorts", self.exposed_ports, json::omit_empty);
    visit("Tty", self.tty);
    visit("OpenStdin", self.open_stdin);
    visit("StdinOnce", self.stdin_once);
    visit("Env", self.env, json::null_empty);
    visit("Cmd", self.cmd);
    visit("Healthcheck", self.healthcheck, json::omit_empty);
    visit("ArgsEscaped", self.args_escaped, json::omit_empty);
    visit("Image", self.image);
    visit("Volumes", self.volumes, json::null_empty);
    visit("WorkingDir", self.working_dir);
    visit("Entrypoint", self.entrypoint);
    visit("NetworkDisabled", self.network_disabled, json::omit_empty);
    visit("MacAddress", self.mac_address, json::omit_empty);
    visit("OnBuild", self.on_build, json::null_empty);
    visit("Labels", self.labels);
    visit("StopSignal", self.stop_signal, json::omit_empty);
    visit("StopTimeout", self.stop_timeout, json::omit_empty);
    visit("Shell", self.shell, json::omit_empty);
  }
};

}  // namespace corten::spec

namespace corten::json {

template <>
struct Custom<spec::Command> {
  static Result<> from_json(const Value& value, spec::Command& out, std::string_view path);
  static Value to_json(const spec::Command& command);
  static bool is_empty(const spec::Command& command) { return command.args.empty(); }
};

}  // namespace corten::json
