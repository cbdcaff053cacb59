// What the daemon asks of a shim.
#include <signal.h>

#include "shim/shim.h"

namespace corten::shim {

using shimproto::Empty;
using shimproto::Message;
using shimproto::MessageType;

void Shim::handle(DaemonLink& link, Message message) {
  const std::uint32_t id = message.id;
  const MessageType type = message.type;
  const auto reply = [&](auto result) { link.send(MessageType::reply, id, shimproto::encode_reply(result)); };
  if (type == MessageType::start) return handle_start(link, std::move(message));
  if (type == MessageType::more_fds) {
    for (auto& fd : message.fds) early_fds_.push_back(std::move(fd));
    return;
  }
  if (!started_) return reply(Result<Empty>(fail(ErrorKind::conflict, "the shim has no container yet")));
  switch (type) {
    case MessageType::hello: return handle_hello(link, message);
    case MessageType::exec: return reply(exec(std::move(message)));
    case MessageType::attach: return reply(attach(std::move(message)));
    case MessageType::resume_attach: return reply(with_client(message, false));
    case MessageType::detach: return reply(with_client(message, true));
    case MessageType::resize: return reply(resize(message));
    case MessageType::signal: return reply(signal(message));
    case MessageType::close_stdin: return reply(close_stdin(message));
    case MessageType::reopen_logs: return reply(reopen_logs());
    case MessageType::status: return reply(Result<shimproto::ShimStatus>(status()));
    case MessageType::exit_ack: acknowledged_ = true; return sweep();
    default:
      return reply(
          Result<Empty>(fail(ErrorKind::not_implemented, "unknown message of type {}", static_cast<int>(type))));
  }
}

void Shim::handle_start(DaemonLink& link, Message message) {
  const auto run = [&]() -> Result<shimproto::StartReply> {
    if (started_) return fail(ErrorKind::conflict, "the shim has a container already");
    auto start_message = TRY(shimproto::decode<shimproto::StartMessage>(message.body));
    std::vector<UniqueFd> fds = std::move(early_fds_);
    for (auto& fd : message.fds) fds.push_back(std::move(fd));
    return start(std::move(start_message), std::move(fds));
  };
  const auto result = run();
  if (!result && listener_) run_dir_.remove_socket();
  const int pidfd = init_.pidfd.get();
  link.send(MessageType::reply, message.id, shimproto::encode_reply(result),
            std::span(&pidfd, result.has_value() ? 1U : 0U));
  if (!result) loop_.stop();  // nothing runs, or it dies with us
}

void Shim::handle_hello(DaemonLink& link, const Message& message) {
  const auto hello = shimproto::decode<shimproto::HelloMessage>(message.body);
  if (!hello || hello->version < 1)
    return link.send(MessageType::reply, message.id,
                     shimproto::encode_reply(Result<shimproto::ShimStatus>(fail(ErrorKind::invalid, "bad hello"))));
  if (active_ != nullptr && active_ != &link) active_->close();
  active_ = &link;
  acknowledged_ = false;
  const int pidfd = init_.pidfd.get();
  link.send(MessageType::reply, message.id, shimproto::encode_reply(Result<shimproto::ShimStatus>(status())),
            std::span(&pidfd, 1));
  // Perhaps told before, to a daemon that could not act on it any more.
  for (const auto& event : recent_exec_exits_) send_event(MessageType::exec_exited, shimproto::encode(event));
  if (announced_) send_event(MessageType::exited, shimproto::encode(*init_.exit));
}

Result<Shim::Process*> Shim::find_process(const std::string& exec_id) {
  if (exec_id.empty()) {
    if (init_.exit) return fail(ErrorKind::not_found, "the container's process has ended");
    return &init_;
  }
  const auto found = execs_.find(exec_id);
  if (found == execs_.end() || found->second->exit) return fail(ErrorKind::not_found, "no running exec {}", exec_id);
  return found->second.get();
}

Result<shimproto::AttachReply> Shim::attach(Message message) {
  auto spec = TRY(shimproto::decode<shimproto::AttachSpec>(message.body));
  if (message.fds.size() != 1) return fail(ErrorKind::invalid, "attach with {} descriptors", message.fds.size());
  if (init_.drained) return fail(ErrorKind::conflict, "the container is not running");
  shimproto::AttachReply reply{next_attach_id_++, log_->mark()};
  CHECK(init_.io->attach(reply.attach_id, std::move(spec), std::move(message.fds.front())));
  return reply;
}

Result<Empty> Shim::with_client(const Message& message, bool detach) {
  const auto id = TRY(shimproto::decode<shimproto::AttachIdMessage>(message.body)).attach_id;
  Client* client = init_.io->find_client(id);
  for (auto& [exec_id, process] : execs_)
    if (client == nullptr) client = process->io->find_client(id);
  if (client == nullptr) return fail(ErrorKind::not_found, "no attached client {}", id);
  if (detach) {
    client->close(shimproto::AttachEnd::detached);
  } else {
    client->resume();
  }
  return Empty{};
}

Result<Empty> Shim::resize(const Message& message) {
  const auto request = TRY(shimproto::decode<shimproto::ResizeMessage>(message.body));
  auto* process = TRY(find_process(request.exec_id));
  CHECK(process->io->resize(request.rows, request.columns));
  return Empty{};
}

Result<Empty> Shim::signal(const Message& message) {
  const auto request = TRY(shimproto::decode<shimproto::SignalMessage>(message.body));
  auto* process = TRY(find_process(request.exec_id));
  CHECK(sys::pidfd_send_signal(process->pidfd.get(), request.signo));
  return Empty{};
}

Result<Empty> Shim::close_stdin(const Message& message) {
  const auto request = TRY(shimproto::decode<shimproto::ExecIdMessage>(message.body));
  TRY(find_process(request.exec_id))->io->close_stdin();
  return Empty{};
}

Result<Empty> Shim::reopen_logs() {
  log_->reopen();
  return Empty{};
}

shimproto::ShimStatus Shim::status() const {
  shimproto::ShimStatus status;
  status.state = state_;
  for (const auto& [id, process] : execs_)
    if (!process->exit) status.execs.emplace_back(id, process->pid);
  if (announced_) status.exit = init_.exit;
  status.log_bytes_lost = log_->losses().bytes;
  status.log_error = log_->losses().error;
  return status;
}

}  // namespace corten::shim
