// One connection to one shim: requests with replies on one side, a queue of events on the other.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/mutex.h"
#include "shimproto/callback_pool.h"
#include "shimproto/messages.h"
#include "shimproto/shim_client.h"

namespace corten::shimproto {

// For start and hello, before a reader thread knows the socket: sends, and reads on the calling thread until the reply.
Result<Message> call_directly(int socket, MessageType type, std::string_view body, std::span<const int> fds,
                              Deadline deadline);

class Connection final : public ShimClient, public std::enable_shared_from_this<Connection> {
 public:
  struct Parts {
    UniqueFd socket;
    UniqueFd pidfd;
    UniqueFd run_dir;
    ShimState state;
    ShimCallbacks callbacks;
    std::chrono::milliseconds request_timeout{};
  };
  explicit Connection(Parts parts) : parts_(std::move(parts)) {}

  const ShimState& state() const override { return parts_.state; }
  int pidfd() const override { return parts_.pidfd.get(); }
  bool is_stopped() const override;
  Result<Started> exec(const ExecRequest& request) override;
  Result<AttachReply> attach(const AttachSpec& spec) override;
  Result<> resume_attach(std::uint64_t attach_id) override;
  Result<> detach(std::uint64_t attach_id) override;
  Result<> resize(std::string_view exec_id, std::uint16_t rows, std::uint16_t columns) override;
  Result<> signal(std::string_view exec_id, int signo) override;
  Result<> close_stdin(std::string_view exec_id) override;
  Result<> reopen_logs() override;
  Result<ShimStatus> status() override;

  // For the hub's reader thread.
  int socket() const { return parts_.socket.get(); }
  // Takes in what the shim has sent. False: the connection is over (and on_exit or on_lost is on its way).
  bool read_available(CallbackPool& pool) EXCLUDES(mutex_);
  // The hub goes away: requests fail from now on, no callback is called any more.
  void abandon() EXCLUDES(mutex_);

 private:
  // On the caller's stack; once in pending_ it is used with mutex_ held.
  struct Pending {
    std::optional<Message> reply;
    bool closed = false;
  };

  template <class Reply, class Body>
  Result<Reply> request(MessageType type, const Body& body, std::span<const int> fds = {});
  Result<Message> call(MessageType type, std::string_view body, std::span<const int> fds) EXCLUDES(mutex_);
  Result<> send(MessageType type, std::uint32_t id, std::string_view body, std::span<const int> fds, Deadline deadline);
  Error stopped_error() const;
  void complete(Message reply) EXCLUDES(mutex_);
  void enqueue(CallbackPool& pool, std::optional<Message> event) EXCLUDES(mutex_);
  void run_events() EXCLUDES(mutex_);
  void deliver(const Message& event);
  void deliver_end();

  const Parts parts_;
  bool ended_ = false;  // only touched by the thread that delivers; delivering_ passes it on to the next

  Mutex mutex_;
  CondVar replied_;
  std::uint32_t next_id_ GUARDED_BY(mutex_) = 1;
  std::map<std::uint32_t, Pending*> pending_ GUARDED_BY(mutex_);
  std::deque<std::optional<Message>> events_ GUARDED_BY(mutex_);  // nullopt: the connection ended
  bool delivering_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
  bool abandoned_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::shimproto
