// Routes that carry a process's streams: attach, logs, exec, resize.
#include <array>

#include "json/codec.h"
#include "server/head_read.h"
#include "server/router.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

// Since API 1.42 the content type tells raw and framed streams apart.
std::string_view stream_type(ApiVersion version, bool tty) {
  return tty || version < ApiVersion{1, 42} ? "application/vnd.docker.raw-stream"
                                            : "application/vnd.docker.multiplexed-stream";
}

// `at_once`: output follows the head at once.
Result<engine::ClientStream> hijack(Call& call, bool tty, bool at_once) {
  http::HijackedConnection connection = TRY(call.response.hijack(stream_type(call.version, tty)));
  if (at_once && loses_early_output(call.request))
    wait_until_head_is_read(connection.fd.get(), call.request.peer.transport);
  return engine::ClientStream{std::move(connection.fd), std::move(connection.already_read)};
}

Result<> attach(Call& call) {
  engine::AttachOptions options;
  options.stream = call.flag("stream");
  options.logs = call.flag("logs");
  options.use_stdin = call.flag("stdin");
  options.use_stdout = call.flag("stdout");
  options.use_stderr = call.flag("stderr");
  options.detach_keys = call.query("detachKeys");
  // A container that does not run says nothing before it is started, by whoever has read the head.
  options.hijack = [&, at_once = options.logs](bool tty) { return hijack(call, tty, at_once); };
  return call.services.engine.attach(call.path("id"), std::move(options));
}

// A browser sends its page's origin along. A page of somebody else's must not get at a daemon that its reader's machine
// can reach without a certificate.
Result<> check_origin(const http::Request& request) {
  const std::string_view origin = request.headers.get("Origin").value_or("");
  if (origin.empty() || request.peer.transport == http::Transport::unix_socket) return {};
  const std::size_t slashes = origin.find("//");
  const std::string_view site = slashes == std::string_view::npos ? "" : origin.substr(slashes + 2);
  if (site == request.headers.get("Host").value_or("")) return {};
  return fail(ErrorKind::forbidden, "a page of {} may not attach to containers of this daemon", origin);
}

// The messages carry the bytes of the streams as they are, both outputs without frames.
Result<> attach_websocket(Call& call) {
  CHECK(check_origin(call.request));
  engine::AttachOptions options;
  options.stream = call.flag("stream");
  options.logs = call.flag("logs");
  // Which streams are wanted can be said since API 1.42; all before.
  const bool asks = call.version >= ApiVersion{1, 42};
  options.use_stdin = !asks || call.flag("stdin");
  options.use_stdout = !asks || call.flag("stdout");
  options.use_stderr = !asks || call.flag("stderr");
  options.raw = true;
  options.detach_keys = call.query("detachKeys");
  options.hijack = [&](bool) -> Result<engine::ClientStream> {
    auto connection = TRY(call.response.hijack_websocket(call.version < ApiVersion{1, 28}));
    return engine::ClientStream{std::move(connection.fd), std::move(connection.already_read)};
  };
  return call.services.engine.attach(call.path("id"), std::move(options));
}

struct Size {
  unsigned height;
  unsigned width;
};

Result<Size> terminal_size(const Call& call) {
  const std::int64_t height = TRY(call.number("h", 0));
  const std::int64_t width = TRY(call.number("w", 0));
  if (height < 0 || width < 0 || height > 65535 || width > 65535)
    return fail(ErrorKind::invalid, "invalid terminal size {}x{}", width, height);
  return Size{static_cast<unsigned>(height), static_cast<unsigned>(width)};
}

Result<> resize(Call& call) {
  const Size size = TRY(terminal_size(call));
  CHECK(call.services.engine.resize(call.path("id"), size.height, size.width));
  return call.response.write_empty(200);
}

// Docker's 8 bytes before each piece: stream number, three zeros, length (big endian).
void append_frame(std::string& out, bool is_stderr, std::string_view text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  out += is_stderr ? '\2' : '\1';
  out.append(3, '\0');
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>((length >> shift) & 0xFF);
  out += text;
}

std::string decorate(const engine::LogLine& line, const engine::LogOptions& options) {
  std::string text;
  if (options.timestamps) text += format_rfc3339_fixed(line.time) + ' ';
  if (options.details) {
    text += line.attributes;
    text += ' ';
  }
  text += line.text;
  return text;
}

Result<> logs(Call& call) {
  engine::LogOptions options;
  options.use_stdout = call.flag("stdout");
  options.use_stderr = call.flag("stderr");
  if (!options.use_stdout && !options.use_stderr)
    return fail(ErrorKind::invalid, "Bad parameters: you must choose at least one stream");
  options.follow = call.flag("follow");
  options.timestamps = call.flag("timestamps");
  options.details = call.flag("details");
  const auto time = [&](std::string_view name) -> Result<std::optional<Timestamp>> {
    const std::string text = call.query(name);
    if (text.empty() || text == "0") return std::optional<Timestamp>();
    return std::optional<Timestamp>(
        TRY_AS(parse_time_filter(text, now()), fmt::format("invalid value for \"{}\"", name)));
  };
  options.since = TRY(time("since"));
  options.until = TRY(time("until"));
  if (const std::string tail = call.query("tail"); !tail.empty() && tail != "all") {
    const std::int64_t lines = TRY(call.number("tail", 0));
    if (lines >= 0) options.tail = static_cast<std::uint64_t>(lines);
  }
  const engine::ContainerPtr container = TRY(call.services.engine.find(call.path("id")));
  const bool tty = container->definition->config.tty;
  bool begun = false;
  const auto begin = [&]() -> Result<> {
    if (std::exchange(begun, true)) return {};
    return call.response.begin_stream(200, stream_type(call.version, tty));
  };
  // A follower must see the head even while there is nothing to show.
  const bool readable = container->definition->host_config.log_config.type != "none";
  if (options.follow && readable) CHECK(begin());
  std::string piece;
  const auto write_line = [&](const engine::LogLine& line) -> Result<> {
    CHECK(begin());
    const std::string text = decorate(line, options);
    piece.clear();
    if (tty)
      piece = text;
    else
      append_frame(piece, line.is_stderr, text);
    return call.response.write(piece);
  };
  const Result<> done = call.services.engine.logs(container->id(), options, call.request.stop_token(), write_line);
  if (!done) return done;
  return begin();
}

struct ExecCreateBody {
  bool attach_stdin = false, attach_stdout = false, attach_stderr = false;
  std::vector<unsigned> console_size;
  std::string detach_keys;
  bool tty = false;
  std::vector<std::string> env;
  spec::Command cmd;
  bool privileged = false;
  std::string user;
  std::string working_dir;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("AttachStdin", self.attach_stdin);
    visit("AttachStdout", self.attach_stdout);
    visit("AttachStderr", self.attach_stderr);
    visit("ConsoleSize", self.console_size);
    visit("DetachKeys", self.detach_keys);
    visit("Tty", self.tty);
    visit("Env", self.env);
    visit("Cmd", self.cmd);
    visit("Privileged", self.privileged);
    visit("User", self.user);
    visit("WorkingDir", self.working_dir);
  }
};

Result<> exec_create(Call& call) {
  auto body = TRY(call.body_as<ExecCreateBody>());
  if (body.cmd.args.empty()) return fail(ErrorKind::invalid, "no exec command specified");
  engine::ExecConfig config;
  config.user = body.user;
  config.privileged = body.privileged;
  config.tty = body.tty;
  config.console_size = body.console_size;
  config.attach_stdin = body.attach_stdin;
  config.attach_stdout = body.attach_stdout;
  config.attach_stderr = body.attach_stderr;
  config.detach_keys = body.detach_keys;
  config.env = std::move(body.env);
  config.working_dir = body.working_dir;
  config.cmd = std::move(body.cmd.args);
  const std::string id = TRY(call.services.engine.exec_create(call.path("id"), std::move(config)));
  return call.answer(201, Object{{"Id", id}});
}

struct ExecStartBody {
  bool detach = false;
  std::optional<bool> tty;
  std::vector<unsigned> console_size;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Detach", self.detach);
    visit("Tty", self.tty);
    visit("ConsoleSize", self.console_size);
  }
};

Result<> exec_start(Call& call) {
  const auto body = TRY(call.body_as<ExecStartBody>(true));
  engine::ExecStartOptions options;
  options.detach = body.detach;
  options.tty = body.tty;
  options.console_size = body.console_size;
  if (!body.detach) options.hijack = [&](bool tty) { return hijack(call, tty, true); };
  CHECK(call.services.engine.exec_start(call.path("id"), std::move(options)));
  return body.detach ? call.response.write_empty(200) : Result<>();
}

Result<> exec_resize(Call& call) {
  const Size size = TRY(terminal_size(call));
  CHECK(call.services.engine.exec_resize(call.path("id"), size.height, size.width));
  return call.response.write_empty(200);
}

Result<> exec_inspect(Call& call) {
  const engine::ExecView exec = TRY(call.services.engine.exec_inspect(call.path("id")));
  Object process{{"arguments", json::to_json(exec.arguments)},
                 {"entrypoint", exec.entrypoint},
                 {"privileged", exec.privileged},
                 {"tty", exec.tty}};
  if (!exec.user.empty()) process["user"] = exec.user;
  return call.answer(200, Object{{"ID", exec.id},
                                 {"Running", exec.running},
                                 {"ExitCode", exec.exit_code ? json::Value(*exec.exit_code) : json::Value(nullptr)},
                                 {"ProcessConfig", std::move(process)},
                                 {"OpenStdin", exec.open_stdin},
                                 {"OpenStderr", exec.open_stderr},
                                 {"OpenStdout", exec.open_stdout},
                                 {"CanRemove", !exec.running && exec.exit_code.has_value()},
                                 {"ContainerID", exec.container_id},
                                 {"DetachKeys", exec.detach_keys},
                                 {"Pid", exec.pid}});
}

constexpr std::array table{
    Route{"POST", "/containers/{id}/attach", attach},    Route{"GET", "/containers/{id}/attach/ws", attach_websocket},
    Route{"GET", "/containers/{id}/logs", logs},         Route{"POST", "/containers/{id}/resize", resize},
    Route{"POST", "/containers/{id}/exec", exec_create}, Route{"POST", "/exec/{id}/start", exec_start},
    Route{"POST", "/exec/{id}/resize", exec_resize},     Route{"GET", "/exec/{id}/json", exec_inspect},
};

}  // namespace

std::span<const Route> exec_routes() { return table; }

}  // namespace corten::server
