// attach and resize. A client's connection is handed to the shim; what has been logged before goes out from here first.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "engine/log_source.h"
#include "shimproto/log_options.h"

namespace corten::engine {
namespace {

// The connection may be non-blocking; its client may take its time, which costs nobody else anything.
Result<> write_fully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd wanted{fd, POLLOUT, 0};
      if (::poll(&wanted, 1, -1) < 0 && errno != EINTR) return sys_fail("wait for an attached client");
    } else if (errno != EINTR) {
      return sys_fail("write to an attached client");
    }
  }
  return {};
}

}  // namespace

std::string stream_frame(bool is_stderr, std::string_view text) {
  std::string frame(8, '\0');
  frame[0] = is_stderr ? 2 : 1;
  for (int i = 0; i < 4; ++i) frame[4 + i] = static_cast<char>(text.size() >> (24 - 8 * i));
  frame += text;
  return frame;
}

void end_stream(int fd, bool multiplexed, bool is_stderr, const Error& why) {
  (void)write_stream(fd, multiplexed, is_stderr, why.text() + "\r\n");
  // A shim that has not answered may still hold a copy of the descriptor: closing ours would end nothing.
  ::shutdown(fd, SHUT_RDWR);
}

Result<> write_stream(int fd, bool multiplexed, bool is_stderr, std::string_view text) {
  return multiplexed ? write_fully(fd, stream_frame(is_stderr, text)) : write_fully(fd, text);
}

namespace {

Result<> replay_log(int fd, bool multiplexed, const Layout& layout, const Definition& definition,
                    const AttachOptions& options, std::optional<Timestamp> until) {
  logs::ReadOptions wanted;
  wanted.want_stdout = options.use_stdout;
  wanted.want_stderr = options.use_stderr;
  wanted.until = until;
  auto source = TRY(LogSource::open(layout, definition, wanted));
  for (;;) {
    const auto record = TRY(source.reader().next({}));
    if (!record) return {};
    CHECK(write_stream(fd, multiplexed, record->stream == logs::Stream::err, record->line));
  }
}

}  // namespace

Result<> EngineImpl::attach(std::string_view ref, AttachOptions options) {
  const auto container = TRY(registry_.find(ref));
  shimproto::AttachSpec spec;
  spec.detach_keys = TRY(shimproto::parse_detach_keys(options.detach_keys));
  const auto definition = TRY(container->with([&](Container::Data& data) -> Result<std::shared_ptr<const Definition>> {
    CHECK(may_attach(data.state, container->id()));
    return data.definition;
  }));
  const bool tty = definition->config.tty;
  spec.want_stdin = options.use_stdin && definition->config.open_stdin;
  spec.want_stdout = options.use_stdout;
  spec.want_stderr = options.use_stderr;
  const bool framed = !tty && !options.raw;
  spec.multiplexed = framed;
  if (!tty) spec.detach_keys.clear();

  // A client may ask for the start as soon as it has read our head, so a start must not pass us before the connection
  // is on the container's list: it would run without this reader. The head is a few bytes into an empty socket and
  // cannot block.
  std::unique_lock<OperationLock> no_start;
  const bool runs = container->with([&](Container::Data& data) { return data.run != nullptr; });
  if (options.stream && !options.logs && !runs) no_start = TRY(lock_operation(*container));
  auto stream = TRY(options.hijack(tty));
  if (!options.stream) {
    if (options.logs) {
      if (auto sent = replay_log(stream.fd.get(), framed, layout_, *definition, options, {}); !sent) {
        log::debug("container {}: attach: {}", short_id(container->id()), sent.error().text());
      }
    }
    return {};
  }
  emit(*definition, "attach");

  // Running: to the shim. Not yet: kept until the start, when the shim gets it before the first byte of output.
  std::shared_ptr<shimproto::ShimClient> client;
  const bool waits = container->with([&](Container::Data& data) {
    if (data.run && !data.starting) {
      client = data.run->client;
      return false;
    }
    if (!options.logs) data.attaches.push_back({std::move(stream), spec});
    return true;
  });
  if (waits && !options.logs) return {};
  if (waits) {
    (void)replay_log(stream.fd.get(), framed, layout_, *definition, options, {});
    container->with([&](Container::Data& data) { data.attaches.push_back({std::move(stream), spec}); });
    return {};
  }
  if (client == nullptr) return fail(ErrorKind::unavailable, "container {}: its shim does not answer", container->id());
  spec.fd = stream.fd.get();
  spec.already_read = std::move(stream.already_read);
  spec.paused = options.logs;
  auto reply = client->attach(spec);
  if (!reply) {
    // The head has been sent: what went wrong can only be said in the stream, as an exec does.
    log::warn("container {}: attach: {}", short_id(container->id()), reply.error().text());
    end_stream(stream.fd.get(), framed, true, reply.error());
    return {};
  }
  if (!options.logs) return {};
  if (auto sent = replay_log(stream.fd.get(), framed, layout_, *definition, options, reply->log_until); !sent) {
    log::debug("container {}: attach: {}", short_id(container->id()), sent.error().text());
  }
  if (auto resumed = client->resume_attach(reply->attach_id); !resumed) {
    log::debug("container {}: attach: {}", short_id(container->id()), resumed.error().text());
  }
  return {};
}

Result<> EngineImpl::resize(std::string_view ref, unsigned height, unsigned width) {
  const auto container = TRY(registry_.find(ref));
  const auto client = TRY(client_of(*container));
  if (height > UINT16_MAX || width > UINT16_MAX)
    return fail(ErrorKind::invalid, "resize: {} by {} is too large", height, width);
  CHECK(client->resize("", static_cast<std::uint16_t>(height), static_cast<std::uint16_t>(width)));
  emit(*container->view()->definition, "resize",
       {{"height", std::to_string(height)}, {"width", std::to_string(width)}});
  return {};
}

}  // namespace corten::engine
