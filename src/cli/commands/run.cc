// run and create.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "cli/commands/all.h"
#include "cli/container_flags.h"
#include "cli/files.h"
#include "cli/image_pull.h"
#include "cli/run_options.h"
#include "cli/signals.h"
#include "cli/streams.h"
#include "oci/image.h"

namespace corten::cli {
namespace {

// 127: the command was not found; 126: it cannot be executed; 125: anything else went wrong on our side.
int failure_code(std::string_view text) {
  const auto has = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (has("executable file not found") || has("no such file or directory") ||
      has("system cannot find the file specified"))
    return 127;
  if (has("permission denied") || has("is a directory") || has("exec format error")) return 126;
  return 125;
}

Outcome failed(Context& context, std::string_view command, const Error& error, int code) {
  context.complain(
      fmt::format("{0}: {1}\n\nRun '{0} {2} --help' for more information", program_name, error.text(), command));
  return done(code);
}

// The file that --cidfile names: made before the container, removed again when there is none.
class IdFile {
 public:
  static Result<IdFile> create(const std::string& path) {
    if (path.empty()) return IdFile({}, "");
    if (::access(path.c_str(), F_OK) == 0) {
      return fail(ErrorKind::conflict,
                  "container ID file found, make sure the other container isn't running or delete {}", path);
    }
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!fd) return wrap(Result<IdFile>(sys_fail("open {}", path)), "failed to create the container ID file");
    return IdFile(std::move(fd), path);
  }
  IdFile(IdFile&& other) noexcept : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})) {}
  IdFile& operator=(IdFile&&) = delete;
  ~IdFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Result<> write(std::string_view id) {
    if (!fd_) return {};
    CHECK_AS(write_all(fd_.get(), id), "failed to write the container ID to the file");
    path_.clear();
    return {};
  }

 private:
  IdFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

Result<> check_pull(const std::string& policy) {
  if (policy == "always" || policy == "missing" || policy == "never") return {};
  return fail(ErrorKind::invalid, "invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"",
              policy);
}

void show_warnings(Context& context, const CreateRequest& request) {
  for (const auto& warning : request.warnings) context.warn("WARNING: " + warning);
  if (request.host.oom_kill_disable.value_or(false) && request.host.memory == 0) {
    context.warn(
        "WARNING: Disabling the OOM killer on containers without setting a '-m/--memory' limit may be dangerous.");
  }
  if (request.host.network_mode == "host") return;
  for (const auto& address : request.host.dns) {
    if (address.starts_with("127.") || address == "::1") {
      context.warn(fmt::format("WARNING: Localhost DNS setting (--dns={}) may fail in containers.", address));
    }
  }
}

// The image is not there, or only for another machine; other things that are not found no pull can bring.
bool is_about_image(std::string_view text) {
  const auto has = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  return has("o such image") || (has("image with reference ") && has("specified platform"));
}

Result<std::string> create(Context& context, client::Client& client, const FlagValues& flags,
                           const CreateRequest& request) {
  const std::string policy = flags.string("pull");
  const std::string platform = flags.string("platform");
  CHECK(check_pull(policy));
  IdFile id_file = TRY(IdFile::create(request.host.container_id_file));
  const auto pull = [&]() -> Result<> {
    const oci::Reference reference = TRY(oci::parse_reference(request.config.image)).with_default_tag();
    return pull_image(context, client, reference,
                      {.platform = platform, .quiet = flags.boolean("quiet"), .to_error = true});
  };
  if (policy == "always") CHECK(pull());
  const json::Value body = request.to_json();
  auto created = client.create_container(flags.string("name"), platform, body);
  if (!created && created.error().kind() == ErrorKind::not_found && policy == "missing" &&
      is_about_image(created.error().text())) {
    if (!flags.boolean("quiet")) {
      context.warn(fmt::format("Unable to find image '{}' locally", with_default_tag(request.config.image)));
    }
    CHECK(pull());
    created = client.create_container(flags.string("name"), platform, body);
  }
  if (!created) return std::unexpected(std::move(created).error());
  for (const auto& warning : created->warnings) context.warn("WARNING: " + warning);
  CHECK(id_file.write(created->id));
  return created->id;
}

Result<> check_platform(const std::string& text) {
  if (text.empty()) return {};
  TRY_AS(oci::parse_platform(text), "error parsing specified platform");
  return {};
}

Outcome run_create(Context& context, const Invocation& invocation) {
  const auto refuse = [&](const Error& error) { return failed(context, invocation.path, error, 125); };
  if (auto valid = check_pull(invocation.flags.string("pull")); !valid) return refuse(valid.error());
  if (auto valid = check_platform(invocation.flags.string("platform")); !valid) return refuse(valid.error());
  auto request = read_create_request(invocation.flags, invocation.arguments);
  if (!request) return refuse(request.error());
  show_warnings(context, *request);
  client::Client& client = *TRY(context.client());
  context.print_line(TRY(create(context, client, invocation.flags, *request)));
  return done();
}

// Everything between the created container and its exit code.
class Runner {
 public:
  Runner(Context& context, client::Client& client, const FlagValues& flags, const CreateRequest& request,
         std::string id)
      : context_(context), client_(client), flags_(flags), request_(request), id_(std::move(id)) {}

  Result<int> run() {
    const auto& config = request_.config;
    const bool attached = config.attach_stdin || config.attach_stdout || config.attach_stderr;
    StreamSession session = TRY(StreamSession::prepare(context_, options(attached)));
    std::optional<client::Client::Stream> stream;
    if (attached) stream = TRY(attach());
    http::ClientResponse exit = TRY(client_.begin_wait(id_, request_.host.auto_remove ? "removed" : "next-exit"));
    if (auto started = client_.start_container(id_); !started) {
      session.restore_terminal();
      // A container that removes itself is waited for, so that its name is free when we return.
      if (request_.host.auto_remove) (void)client::Client::finish_wait(std::move(exit));
      return std::unexpected(std::move(started).error());
    }
    if (stream) {
      if (TRY(session.run(*stream, &exit)) == StreamEnd::detached) return 0;
    } else {
      CHECK(session.wait_for(exit));
    }
    session.restore_terminal();
    const auto status = TRY(client::Client::finish_wait(std::move(exit)));
    if (!status.error.empty()) {
      context_.warn(status.error);
      return 125;
    }
    return static_cast<int>(status.code);
  }

 private:
  StreamOptions options(bool attached) {
    const auto& config = request_.config;
    StreamOptions out;
    out.tty = config.tty;
    out.attach_stdin = attached && config.attach_stdin;
    out.attach_stdout = config.attach_stdout;
    out.attach_stderr = config.attach_stderr;
    out.multiplexed = !config.tty;
    out.detach_keys = flags_.string("detach-keys");
    if (flags_.boolean("sig-proxy")) {
      out.on_signal = [this](int signal) { (void)client_.kill(id_, signal_name(signal)); };
    }
    if (config.tty && is_terminal(context_.out())) {
      out.on_resize = [this](WindowSize size) { (void)client_.resize(id_, size.rows, size.columns, false); };
    }
    return out;
  }

  Result<client::Client::Stream> attach() {
    const auto& config = request_.config;
    client::Parameters parameters{{"stream", "1"}};
    if (config.attach_stdin) parameters.emplace_back("stdin", "1");
    if (config.attach_stdout) parameters.emplace_back("stdout", "1");
    if (config.attach_stderr) parameters.emplace_back("stderr", "1");
    if (const std::string keys = flags_.string("detach-keys"); !keys.empty())
      parameters.emplace_back("detachKeys", keys);
    return client_.upgrade(fmt::format("/containers/{}/attach", id_), parameters);
  }

  Context& context_;
  client::Client& client_;
  const FlagValues& flags_;
  const CreateRequest& request_;
  std::string id_;
};

Outcome run_run(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const auto refuse = [&](const Error& error) { return failed(context, invocation.path, error, 125); };
  const auto fails = [&](const Error& error) {
    return failed(context, invocation.path, error, failure_code(error.text()));
  };
  if (auto valid = check_pull(flags.string("pull")); !valid) return refuse(valid.error());
  if (auto valid = check_platform(flags.string("platform")); !valid) return refuse(valid.error());
  auto request = read_create_request(flags, invocation.arguments);
  if (!request) return refuse(request.error());
  const bool detach = flags.boolean("detach");
  auto& config = request->config;
  if (detach) {
    if (!flags.list("attach").empty())
      return fail(ErrorKind::invalid, "conflicting options: cannot specify both --attach and --detach");
    config.attach_stdin = config.attach_stdout = config.attach_stderr = false;
    config.stdin_once = false;
  } else if (config.attach_stdin && config.tty && !is_terminal(context.in())) {
    return fail(ErrorKind::invalid, "the input device is not a TTY");
  }
  if (const auto size = window_size(context.out()); config.tty && size)
    request->host.console_size = {size->rows, size->columns};
  show_warnings(context, *request);
  auto client = context.client();
  if (!client) return refuse(client.error());
  auto id = create(context, **client, flags, *request);
  if (!id) return fails(id.error());
  if (detach) {
    auto started = (*client)->start_container(*id);
    if (!started) return fails(started.error());
    context.print_line(*id);
    return done();
  }
  auto code = Runner(context, **client, flags, *request, *id).run();
  if (!code && code.error().sys_errno() == EPIPE) return std::unexpected(std::move(code).error());
  if (!code) return fails(code.error());
  return done(*code);
}

}  // namespace

const Command run_command{
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create and run a new container from an image",
    .min_arguments = 1,
    .max_arguments = many,
    .flags = run_flags,
    .run = run_run,
    .completes = Completes::images,
    .interspersed = false,
};

const Command create_command{
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create a new container",
    .min_arguments = 1,
    .max_arguments = many,
    .flags = create_flags,
    .run = run_create,
    .completes = Completes::images,
    .interspersed = false,
};

}  // namespace corten::cli
