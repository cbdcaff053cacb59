#include "shim/log_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <deque>

namespace corten::shim {
namespace {

constexpr std::size_t default_buffer = 1U << 20;
constexpr std::chrono::milliseconds first_retry{100};
constexpr std::chrono::milliseconds last_retry{10'000};
constexpr char journal_address[] = "unixgram:/run/systemd/journal/socket";

// A connection that comes back by itself, with the messages that wait for it.
class Transport final : public Handler {
 public:
  Transport(Loop& loop, LogAddress address, std::uint64_t limit, std::shared_ptr<LogLosses> losses)
      : loop_(loop),
        address_(std::move(address)),
        limit_(limit == 0 ? default_buffer : limit),
        losses_(std::move(losses)) {}
  ~Transport() override {
    if (timer_ != 0) loop_.cancel(timer_);
    loop_.unwatch(socket_.get());
  }

  bool stream() const { return address_.type == SOCK_STREAM; }
  bool drained() const { return waiting_.empty(); }

  void send(std::string message) {
    if (waiting_bytes_ + message.size() > limit_)
      return losses_->count(message.size(), "log receiver is too slow or away");
    waiting_bytes_ += message.size();
    waiting_.push_back(std::move(message));
    if (waiting_.size() == 1 && timer_ == 0) pump();
  }

  void on_ready(std::uint32_t /*events*/) override { pump(); }

 private:
  void pump() {
    if (!socket_ && !connect()) return retry_later();
    while (!waiting_.empty()) {
      const std::string_view message = std::string_view(waiting_.front()).substr(sent_);
      const ssize_t sent = ::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINPROGRESS)) {
        // A datagram receiver's full queue does not always wake us, so look again after a while too.
        if (!loop_.watch(socket_.get(), EPOLLOUT, *this)) retry_later();
        return;
      }
      if (sent < 0 && errno == EMSGSIZE) {
        losses_->count(message.size(), "message too long for the log receiver");
        pop();
        continue;
      }
      if (sent < 0) {
        losses_->count(0, errno_text(errno));
        disconnect();
        return retry_later();
      }
      sent_ += static_cast<std::size_t>(sent);
      if (!stream() || sent_ == waiting_.front().size()) pop();
    }
    retry_ = first_retry;
    loop_.unwatch(socket_.get());
  }

  void pop() {
    waiting_bytes_ -= waiting_.front().size();
    waiting_.pop_front();
    sent_ = 0;
  }

  bool connect() {
    socket_ = UniqueFd(::socket(address_.family, address_.type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket_ && (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(address_.bytes.data()),
                              static_cast<socklen_t>(address_.bytes.size())) == 0 ||
                    errno == EINPROGRESS))
      return true;
    losses_->count(0, errno_text(errno));
    socket_.reset();
    return false;
  }

  void disconnect() {
    loop_.unwatch(socket_.get());
    socket_.reset();
    sent_ = 0;  // a message cut in the middle is sent again as a whole
  }

  void retry_later() {
    if (timer_ != 0) return;
    timer_ = loop_.after(retry_, [this] {
      timer_ = 0;
      pump();
    });
    retry_ = std::min(retry_ * 2, last_retry);
  }

  Loop& loop_;
  const LogAddress address_;
  const std::uint64_t limit_;
  std::shared_ptr<LogLosses> losses_;
  UniqueFd socket_;
  std::deque<std::string> waiting_;
  std::uint64_t waiting_bytes_ = 0;
  std::size_t sent_ = 0;  // of the first one
  Loop::TimerId timer_ = 0;
  std::chrono::milliseconds retry_ = first_retry;
};

std::string own_host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

class SyslogWriter final : public RecordWriter {
 public:
  SyslogWriter(Loop& loop, shimproto::LogConfig config, LogAddress address, std::shared_ptr<LogLosses> losses)
      : config_(std::move(config)),
        host_name_(own_host_name()),
        transport_(loop, std::move(address), config_.max_buffer, std::move(losses)) {}
  void record(const LogRecord& record) override {
    std::string message = syslog_message(record, config_, host_name_, ::getpid());
    if (transport_.stream()) message.push_back('\n');
    transport_.send(std::move(message));
  }
  void flush() override {}
  bool drained() const override { return transport_.drained(); }

 private:
  const shimproto::LogConfig config_;
  const std::string host_name_;
  Transport transport_;
};

class JournaldWriter final : public RecordWriter {
 public:
  JournaldWriter(Loop& loop, shimproto::LogConfig config, std::string container_id, LogAddress address,
                 std::shared_ptr<LogLosses> losses)
      : config_(std::move(config)),
        container_id_(std::move(container_id)),
        transport_(loop, std::move(address), config_.max_buffer, std::move(losses)) {}
  void record(const LogRecord& record) override { transport_.send(journald_message(record, config_, container_id_)); }
  void flush() override {}
  bool drained() const override { return transport_.drained(); }

 private:
  const shimproto::LogConfig config_;
  const std::string container_id_;
  Transport transport_;
};

std::string local_time(Timestamp time, const char* format) {
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), format, &parts);
  return {text.data(), length};
}

// "+0200" as RFC 3339 wants it: "+02:00", or "Z".
std::string zone_text(Timestamp time) {
  std::string zone = local_time(time, "%z");
  if (zone == "+0000" || zone.size() != 5) return "Z";
  return zone.insert(3, ":");
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name);
  if (value.find('\n') == std::string_view::npos) {
    out.push_back('=');
  } else {
    out.push_back('\n');
    const std::uint64_t size = value.size();
    out.append(reinterpret_cast<const char*>(&size), sizeof size);
  }
  out.append(value);
  out.push_back('\n');
}

Result<LogAddress> unix_address(std::string_view path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(ErrorKind::invalid, "log address: path of {} bytes for a unix socket", path.size());
  path.copy(address.sun_path, path.size());
  return LogAddress{AF_UNIX, type, std::string(reinterpret_cast<const char*>(&address), sizeof address)};
}

Result<LogAddress> inet_address(std::string_view text, int type) {
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == std::string_view::npos) return fail(ErrorKind::invalid, "log address {}: no port", text);
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (code != std::errc() || end != digits.data() + digits.size())
    return fail(ErrorKind::invalid, "log address {}: bad port", text);
  std::string host(text.substr(0, colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1)
    return LogAddress{AF_INET, type, std::string(reinterpret_cast<const char*>(&v4), sizeof v4)};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1)
    return LogAddress{AF_INET6, type, std::string(reinterpret_cast<const char*>(&v6), sizeof v6)};
  return fail(ErrorKind::invalid, "log address {}: not a numeric address", text);
}

}  // namespace

std::string syslog_message(const LogRecord& record, const shimproto::LogConfig& config, std::string_view host_name,
                           int pid) {
  const unsigned priority = config.syslog_facility * 8 + (record.stream == Stream::out ? 6 : 3);
  if (config.syslog_format == "rfc3164")
    return fmt::format("<{}>{} {} {}[{}]: {}", priority, local_time(record.time, "%b %e %H:%M:%S"), host_name,
                       config.tag, pid, record.line);
  if (config.syslog_format == "rfc5424" || config.syslog_format == "rfc5424micro") {
    std::string time = local_time(record.time, "%Y-%m-%dT%H:%M:%S");
    if (config.syslog_format == "rfc5424micro")
      time += fmt::format(".{:06}", record.time.time_since_epoch().count() / 1000 % 1'000'000);
    return fmt::format("<{}>1 {}{} {} {} {} {} - {}", priority, time, zone_text(record.time), host_name, config.tag,
                       pid, config.tag, record.line);
  }
  return fmt::format("<{}>{} {}[{}]: {}", priority, local_time(record.time, "%b %e %H:%M:%S"), config.tag, pid,
                     record.line);
}

std::string journald_message(const LogRecord& record, const shimproto::LogConfig& config,
                             std::string_view container_id) {
  std::string out;
  append_field(out, "MESSAGE", record.line);
  append_field(out, "PRIORITY", record.stream == Stream::out ? "6" : "3");
  append_field(out, "SYSLOG_TIMESTAMP", format_rfc3339(record.time));
  for (const auto& [name, value] : config.fields) append_field(out, name, value);
  if (record.partial_id != 0) {
    if (record.partial) append_field(out, "CONTAINER_PARTIAL_MESSAGE", "true");
    append_field(out, "CONTAINER_PARTIAL_ID", fmt::format("{}-{}", container_id, record.partial_id));
    append_field(out, "CONTAINER_PARTIAL_ORDINAL", fmt::format("{}", record.ordinal));
    append_field(out, "CONTAINER_PARTIAL_LAST", record.partial ? "false" : "true");
  }
  return out;
}

Result<LogAddress> parse_log_address(std::string_view address) {
  const std::size_t colon = address.find(':');
  const std::string_view kind = address.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos ? std::string_view() : address.substr(colon + 1);
  if (kind == "unix") return unix_address(rest, SOCK_STREAM);
  if (kind == "unixgram") return unix_address(rest, SOCK_DGRAM);
  if (kind == "tcp") return inet_address(rest, SOCK_STREAM);
  if (kind == "udp") return inet_address(rest, SOCK_DGRAM);
  return fail(ErrorKind::invalid, "log address {}: unknown kind", address);
}

std::unique_ptr<RecordWriter> make_syslog_writer(Loop& loop, const shimproto::LogConfig& config,
                                                 std::shared_ptr<LogLosses> losses) {
  auto address = parse_log_address(config.address);
  if (!address) {
    losses->count(0, address.error().text());
    return nullptr;
  }
  return std::make_unique<SyslogWriter>(loop, config, std::move(*address), std::move(losses));
}

std::unique_ptr<RecordWriter> make_journald_writer(Loop& loop, const shimproto::LogConfig& config,
                                                   const std::string& container_id, std::shared_ptr<LogLosses> losses) {
  auto address = parse_log_address(config.address.empty() ? journal_address : config.address);
  if (!address) {
    losses->count(0, address.error().text());
    return nullptr;
  }
  return std::make_unique<JournaldWriter>(loop, config, container_id, std::move(*address), std::move(losses));
}

}  // namespace corten::shim
