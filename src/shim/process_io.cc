#include "shim/process_io.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "sys/pty.h"

namespace corten::shim {
namespace {

// As long as Docker waits for the pipes of a process that has ended.
constexpr std::chrono::milliseconds drain_time{2000};
// More than a pipe can hold: what comes after it is from somebody who lives on.
constexpr std::size_t drain_reads = 64;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return sys_fail("make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<> set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return sys_fail("make a stream non-blocking");
  return {};
}

}  // namespace

void ReadBuffer::release() { ::madvise(bytes_.data(), bytes_.size(), MADV_DONTNEED); }

ProcessIo::~ProcessIo() {
  if (drain_timer_ != 0) loop_.cancel(drain_timer_);
  for (auto& source : sources_)
    if (source) close_source(*source);
}

Result<std::array<UniqueFd, 3>> ProcessIo::make_pipes() {
  std::array<UniqueFd, 3> child;
  if (config_.stdin_open) {
    auto pipe = TRY(make_pipe());
    CHECK(set_nonblocking(pipe.write_end.get()));
    input_ = std::make_unique<InputPipe>(loop_, std::move(pipe.write_end), [this] { resume_inputs(); });
    child[0] = std::move(pipe.read_end);
  }
  for (const Stream stream : {Stream::out, Stream::err}) {
    auto pipe = TRY(make_pipe());
    CHECK(set_nonblocking(pipe.read_end.get()));
    sources_[stream == Stream::out ? 0 : 1] = std::make_unique<Source>(*this, std::move(pipe.read_end), stream);
    child[static_cast<std::size_t>(stream)] = std::move(pipe.write_end);
  }
  return child;
}

Result<> ProcessIo::use_console(UniqueFd master) {
  CHECK(set_nonblocking(master.get()));
  // Three descriptors: an epoll knows each number only once, and reading and writing are separate handlers.
  UniqueFd reader(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  UniqueFd writer(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  if (!reader || !writer) return sys_fail("copy a terminal's descriptor");
  sources_[0] = std::make_unique<Source>(*this, std::move(reader), Stream::out);
  if (config_.stdin_open) input_ = std::make_unique<InputPipe>(loop_, std::move(writer), [this] { resume_inputs(); });
  // As long as the process lives, its terminal is open at least here: a program that closes and reopens it loses
  // nothing.
  held_slave_ = UniqueFd(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  console_ = std::move(master);
  return {};
}

Result<> ProcessIo::run() {
  for (auto& source : sources_)
    if (source && source->fd) CHECK(loop_.watch(source->fd.get(), EPOLLIN, *source));
  return {};
}

Result<> ProcessIo::attach(std::uint64_t id, shimproto::AttachSpec spec, UniqueFd fd) {
  if (finished_) return fail(ErrorKind::conflict, "the process has ended");
  if (!fd) return fail(ErrorKind::invalid, "attach without a descriptor");
  if (config_.tty) {
    // A terminal has one stream, and its bytes go as they are.
    spec.want_stdout = spec.want_stdout || spec.want_stderr;
    spec.want_stderr = false;
    spec.multiplexed = false;
  } else {
    spec.detach_keys.clear();
  }
  auto client = std::make_unique<Client>(loop_, static_cast<ClientOwner&>(*this), id, std::move(spec), std::move(fd),
                                         Outbox(config_.spill_directory, config_.reader_limit));
  clients_.push_back(std::move(client));
  if (auto started = clients_.back()->start(); !started) {
    clients_.pop_back();
    return started;
  }
  return {};
}

Client* ProcessIo::find_client(std::uint64_t id) {
  for (auto& client : clients_)
    if (client->id() == id && !client->closed()) return client.get();
  return nullptr;
}

Result<> ProcessIo::resize(std::uint16_t rows, std::uint16_t columns) {
  if (!console_) return fail(ErrorKind::conflict, "the process has no terminal");
  return sys::set_window_size(console_.get(), {rows, columns});
}

void ProcessIo::close_stdin() {
  if (input_ && !config_.tty) input_->close_when_written();
}

void ProcessIo::close_paused_clients() {
  for (std::size_t i = 0; i < clients_.size(); ++i)
    if (clients_[i]->paused()) clients_[i]->close(shimproto::AttachEnd::client_gone);
}

void ProcessIo::input(std::string_view bytes) {
  if (input_) input_->write(bytes);
}

bool ProcessIo::input_ended() {
  // Docker's rule: the end of a client's input closes the process's if it was promised so; in every other case it ends
  // the attach.
  if (config_.tty || !config_.close_stdin_with_client) return false;
  close_stdin();
  return true;
}

void ProcessIo::client_closed(Client& client, shimproto::AttachEnd end) {
  if (calls_.attach_closed) calls_.attach_closed(client.id(), end);
}

void ProcessIo::client_gone(Client& client) {
  std::erase_if(clients_, [&](const auto& own) { return own.get() == &client; });
  if (calls_.client_gone) calls_.client_gone();
}

void ProcessIo::resume_inputs() {
  for (std::size_t i = 0; i < clients_.size(); ++i) clients_[i]->resume_input();
}

void ProcessIo::Source::on_ready(std::uint32_t /*events*/) {
  if (owner.read_once(*this) == ReadEnd::end) {
    owner.close_source(*this);
    if (owner.drained_ && !owner.sources_open()) owner.finish_output();
  }
}

ProcessIo::ReadEnd ProcessIo::read_once(Source& source) {
  const auto space = buffer_.bytes();
  const ssize_t got = ::read(source.fd.get(), space.data(), space.size());
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ReadEnd::empty;
  if (got < 0 && errno == EINTR) return ReadEnd::more;
  if (got <= 0) return ReadEnd::end;  // EIO: a terminal that nobody has open any more
  const std::string_view bytes(space.data(), static_cast<std::size_t>(got));
  if (log_ != nullptr) log_->write(source.stream, bytes);
  // Clients may close while they are served, but are only removed at the end of the loop's round.
  for (std::size_t i = 0; i < clients_.size(); ++i) clients_[i]->deliver(source.stream, bytes);
  return ReadEnd::more;
}

void ProcessIo::close_source(Source& source) {
  if (!source.fd) return;
  loop_.unwatch(source.fd.get());
  source.fd.reset();
  if (log_ != nullptr) log_->end_of(source.stream);
}

bool ProcessIo::sources_open() const {
  return std::any_of(sources_.begin(), sources_.end(), [](const auto& source) { return source && source->fd; });
}

void ProcessIo::read_remaining() {
  for (auto& source : sources_) {
    if (!source || !source->fd) continue;
    for (std::size_t count = 0; count < drain_reads; ++count) {
      const ReadEnd result = read_once(*source);
      if (result == ReadEnd::end) close_source(*source);
      if (result != ReadEnd::more) break;
    }
  }
}

void ProcessIo::process_ended(std::function<void()> drained) {
  drained_ = std::move(drained);
  held_slave_.reset();
  read_remaining();
  if (!sources_open()) return finish_output();
  drain_timer_ = loop_.after(drain_time, [this] {
    drain_timer_ = 0;
    read_remaining();
    finish_output();
  });
}

void ProcessIo::finish_output() {
  if (finished_) return;
  finished_ = true;
  if (drain_timer_ != 0) loop_.cancel(std::exchange(drain_timer_, 0));
  for (auto& source : sources_)
    if (source) close_source(*source);
  input_.reset();
  auto drained = std::exchange(drained_, nullptr);
  drained();
  for (std::size_t i = 0; i < clients_.size(); ++i) clients_[i]->finish();
}

}  // namespace corten::shim
