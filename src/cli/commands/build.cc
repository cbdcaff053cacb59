// build: an image from a Dockerfile. What is here is sent, what the daemon tells is shown, what comes of it is fetched.
#include <poll.h>
#include <signal.h>

#include <array>
#include <cerrno>

#include "cli/build_context.h"
#include "cli/build_flags.h"
#include "cli/build_options.h"
#include "cli/build_results.h"
#include "cli/build_view.h"
#include "cli/commands/all.h"
#include "cli/registry_auth.h"
#include "cli/style.h"
#include "cli/terminal.h"

namespace corten::cli {
namespace {

// Sends the contexts that are here; each is a step of its own.
class ContextSender {
 public:
  ContextSender(Context& context, client::Client& client, BuildView& view)
      : context_(context), client_(client), view_(view) {}

  Result<> send(const BuildInput& input, spec::BuildRequest& request) {
    if (input.kind == BuildInput::Kind::folder)
      request.context.session = TRY(folder("[internal] load build context", input.folder));
    if (input.kind == BuildInput::Kind::tar) request.context.session = TRY(archive(input.tar_head));
    for (const auto& [name, folder_of_it] : input.named_folders)
      request.named_contexts[name].session =
          TRY(folder(fmt::format("[internal] load build context {}", name), folder_of_it));
    return {};
  }

 private:
  SendStatus status() {
    return [this, begun = std::chrono::steady_clock::now()](std::uint64_t bytes, std::uint64_t total) {
      if (std::chrono::steady_clock::now() - begun < patience) return;
      // A terminal that went away is noticed by the next line that must be written.
      (void)view_.status(step_, "transferring context:", bytes, total);
    };
  }

  // What takes no longer is told when it is done.
  static constexpr std::chrono::milliseconds patience{300};

  Result<std::string> folder(std::string title, const ContextFolder& what) {
    step_ = next_++;
    CHECK(view_.begin(step_, std::move(title)));
    const auto sent = send_folder(client_, what, status());
    if (!sent) return failed(sent.error());
    const std::string changed =
        fmt::format("transferring context: {} of {} entries to send,", sent->wanted_files, sent->files);
    CHECK(view_.status(step_,
                       sent->wanted_files == 0 ? fmt::format("context: {} entries, all known", sent->files) : changed,
                       sent->wanted_bytes));
    CHECK(view_.finish(step_));
    return sent->session;
  }

  Result<std::string> archive(const std::string& head) {
    step_ = next_++;
    CHECK(view_.begin(step_, "[internal] load remote build context"));
    auto sent = send_tar(client_, context_.in(), head, status());
    if (!sent) return failed(sent.error());
    CHECK(view_.finish(step_));
    return sent;
  }

  std::unexpected<Error> failed(const Error& error) {
    (void)view_.finish(step_, error.text());
    return std::unexpected(error);
  }

  Context& context_;
  client::Client& client_;
  BuildView& view_;
  unsigned step_ = 0, next_ = BuildView::own_steps;
};

struct Followed {
  std::optional<spec::BuildResult> result;
  std::optional<spec::BuildFailure> failure;
  int signal = 0;  // that ended it
};

// One message. True when it was the last one.
Result<bool> take_message(const json::Value& value, BuildView& view, Followed& followed) {
  auto line = TRY_AS(json::from_json<spec::BuildLine>(value), "read the daemon's messages");
  CHECK(view.take(line));
  followed.result = std::move(line.result);
  followed.failure = std::move(line.error);
  return followed.result || followed.failure;
}

// Until the build is over, or a signal wants it to be.
Result<Followed> follow(client::JsonLines& messages, BuildView& view) {
  SignalWatch signals = TRY(SignalWatch::create(std::array{SIGINT, SIGTERM, SIGHUP}));
  Followed followed;
  for (;;) {
    while (messages.has_buffered()) {
      const auto next = TRY(messages.next());
      if (!next) return fail(ErrorKind::unavailable, "the daemon ended the build without saying what came of it");
      if (TRY(take_message(*next, view, followed))) return followed;
    }
    pollfd wait[2]{{messages.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    const auto interval = view.interval().count();
    const int ready = ::poll(wait, 2, interval == 0 ? -1 : static_cast<int>(interval));
    if (ready < 0 && errno != EINTR) return sys_fail("wait for the daemon");
    if (const auto signal = wait[1].revents != 0 ? signals.next() : std::nullopt) {
      followed.signal = *signal;
      return followed;
    }
    CHECK(view.pass());
    if (wait[0].revents == 0) continue;
    const auto next = TRY(messages.next());
    if (!next) return fail(ErrorKind::unavailable, "the daemon ended the build without saying what came of it");
    if (TRY(take_message(*next, view, followed))) return followed;
  }
}

// What is foreign in it cannot steer a terminal.
void tell(Context& context, std::string_view text) {
  if (text.empty()) return;
  (void)context.flush();
  (void)write_all(context.err(), is_terminal(context.err()) ? printable_lines(text) : std::string(text));
}

Outcome end_of_failure(Context& context, const spec::BuildFailure& failure, BuildView& view) {
  CHECK(view.end("ERROR"));
  tell(context, warnings_text(view.log().warnings(), context.options().debug));
  tell(context, failure_text(view.log(), view.failure_lines()));
  context.complain("ERROR: failed to solve: " + failure.message);
  return done(1);
}

Outcome end_of_signal(Context& context, int signal, BuildView& view) {
  CHECK(view.end("CANCELED"));
  context.complain("ERROR: build canceled: what ran is stopped, the steps that had finished stay in the cache");
  return done(128 + signal);
}

Outcome end_of_check(Context& context, const spec::BuildResult& result, BuildView& view) {
  CHECK(view.end("FINISHED"));
  const std::string text = check_text(view.log().warnings());
  context.print(is_terminal(context.out()) ? printable_lines(text) : text);
  return done(view.log().warnings().empty() && !result.failed_check ? 0 : 1);
}

Outcome end_of_success(Context& context, const BuildPlan& plan, const spec::BuildResult& result, BuildView& view) {
  CHECK(view.end("FINISHED"));
  if (plan.progress == BuildProgress::quiet) {
    for (const auto& image : result.images)
      if (!image.id.empty()) context.print_line(image.id);
  } else if (plan.progress != BuildProgress::json) {
    tell(context, warnings_text(view.log().warnings(), context.options().debug));
  }
  return done(result.failed_check ? 1 : 0);
}

// Where registries may be named: their credentials go along, no others.
std::string text_with_names(const BuildInput& input, const spec::BuildRequest& request) {
  // The Dockerfile is not here: it may name any.
  if (input.dockerfile_text.empty()) return {};
  std::string text = input.dockerfile_text;
  const auto add = [&](const std::string& more) { text += "\n" + more; };
  for (const auto& tag : request.tags) add(tag);
  for (const auto& [name, value] : request.args) add(value.value_or(""));
  for (const auto& [name, source] : request.named_contexts) add(source.image);
  for (const auto* entries : {&request.cache_from, &request.cache_to})
    for (const auto& entry : *entries)
      for (const auto& [key, value] : entry.attributes) add(value);
  return text;
}

Outcome build_with(Context& context, const BuildPlan& plan, spec::BuildRequest& request, const BuildInput& input,
                   BuildView& view) {
  client::Client& client = *TRY(context.client());
  client::Client::Headers headers;
  const std::string credentials = registry_config_for(context, text_with_names(input, request));
  if (!credentials.empty()) headers.emplace_back("X-Registry-Config", credentials);
  CHECK(ContextSender(context, client, view).send(input, request));
  std::unique_ptr<SshForwarder> agents;
  if (!plan.agents.empty()) agents = TRY(SshForwarder::start(client, plan.agents, request.ssh));
  const std::string body = json::to_text(request);
  client::Client::Upload upload{.content_type = "application/json", .text = &body};
  client::JsonLines messages(TRY(client.stream("POST", "/build/corten", {}, nullptr, &upload, headers)));
  const Followed followed = TRY(follow(messages, view));
  if (followed.signal != 0) return end_of_signal(context, followed.signal, view);
  if (followed.failure) return end_of_failure(context, *followed.failure, view);
  if (request.check_only) return end_of_check(context, *followed.result, view);
  CHECK(take_results(context, client, plan, *followed.result, view));
  return end_of_success(context, plan, *followed.result, view);
}

Outcome run_build(Context& context, const Invocation& invocation) {
  // A reader of our output that goes away is an error of a write: what is half done is taken back.
  ::signal(SIGPIPE, SIG_IGN);
  BuildPlan plan = TRY(plan_build(invocation.flags, can_redraw(context.err()), is_terminal(context.out())));
  spec::BuildRequest& request = plan.request;
  const BuildInput input = TRY(find_input(context, invocation.arguments[0], plan.file, plan.named, request));
  CHECK(prepare_results(plan));
  const auto view = BuildView::make(context, plan.progress, plan.explain);
  Outcome outcome = build_with(context, plan, request, input, *view);
  // An error of ours leaves no panel behind.
  if (!outcome) (void)view->end("ERROR");
  return outcome;
}

}  // namespace

const Command build_command{.usage = "[OPTIONS] PATH | URL | -",
                            .summary = "Build an image from a Dockerfile",
                            .min_arguments = 1,
                            .max_arguments = 1,
                            .flags = build_flags,
                            .run = run_build,
                            .completes = Completes::files};

}  // namespace corten::cli
