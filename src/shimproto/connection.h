// One connection to one shim: requests with replies on one side, a queue of events on the other.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

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
  bool read_available(CallbackPool& pool);
  // The hub goes away: requests fail from now on, no callback is called any more.
  void abandon();

 private:
  struct Pending {
    std::optional<Message> reply;
    bool closed = false;
  };

  template <class Reply, class Body>
  Result<Reply> request(MessageType type, const Body& body, std::span<const int> fds = {});
  Result<Message> call(MessageType type, std::string_view body, std::span<const int> fds);
  void complete(Message reply);
  void enqueue(CallbackPool& pool, std::optional<Message> event);
  void run_events();
  void deliver(const Message& event);
  void deliver_end();

  Parts parts_;
  std::mutex mutex_;
  std::condition_variable replied_;
  std::uint32_t next_id_ = 1;                  // guarded by mutex_
  std::map<std::uint32_t, Pending*> pending_;  // guarded by mutex_
  std::deque<std::optional<Message>> events_;  // guarded by mutex_; nullopt: the connection ended
  bool delivering_ = false;                    // guarded by mutex_
  bool closed_ = false;                        // guarded by mutex_
  bool abandoned_ = false;                     // guarded by mutex_
  bool ended_ = false;                         // only touched by the thread that delivers
};

}  // namespace corten::shimproto
