#include "sys/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace corten::sys {
namespace {

// Dumps of rtnetlink use up to 32 KiB a datagram when the reader's buffer allows it.
constexpr std::size_t buffer_size = 32 * 1024;
constexpr std::size_t max_attribute = 0xffff;
// More than any transaction of ours (10,000 ports are about 1 MiB); a bound against our own bugs.
constexpr std::size_t max_batch = 64 * 1024 * 1024;

constexpr std::size_t align(std::size_t size) { return (size + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1}; }

template <class T>
T load(std::span<const std::byte> value) {
  T result{};
  if (value.size() >= sizeof result) std::memcpy(&result, value.data(), sizeof result);
  return result;
}

// What NLMSG_ERROR said: 0 is an acknowledgement.
struct Verdict {
  std::uint32_t sequence = 0;
  int sys_errno = 0;
  std::string text;
};

Verdict read_verdict(const nlmsghdr& header, std::span<const std::byte> payload) {
  Verdict verdict;
  verdict.sequence = header.nlmsg_seq;
  if (payload.size() < sizeof(nlmsgerr)) {
    verdict.sys_errno = EPROTO;
    return verdict;
  }
  nlmsgerr error;
  std::memcpy(&error, payload.data(), sizeof error);
  verdict.sys_errno = -error.error;
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) != 0) {
    std::size_t offset = sizeof(nlmsgerr);
    // Without NLM_F_CAPPED the request itself stands between the verdict and the explanation.
    if ((header.nlmsg_flags & NLM_F_CAPPED) == 0 && error.msg.nlmsg_len >= sizeof(nlmsghdr))
      offset += align(error.msg.nlmsg_len - sizeof(nlmsghdr));
    if (offset < payload.size())
      if (const auto message = find_attribute(payload.subspan(offset), NLMSGERR_ATTR_MSG))
        verdict.text = message->string();
  }
  return verdict;
}

std::unexpected<Error> fail_verdict(const Verdict& verdict) {
  std::string text = errno_text(verdict.sys_errno);
  if (!verdict.text.empty()) text = fmt::format("{} ({})", verdict.text, text);
  return std::unexpected(Error(kind_of_errno(verdict.sys_errno), std::move(text), verdict.sys_errno));
}

// Calls visit(header, payload) for each message of a datagram until it says stop.
template <class Visit>
void for_each_message(std::span<const std::byte> bytes, Visit&& visit) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    const auto header = load<nlmsghdr>(bytes);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) return;
    visit(header, bytes.subspan(sizeof header, header.nlmsg_len - sizeof header));
    bytes = bytes.subspan(std::min(bytes.size(), align(header.nlmsg_len)));
  }
}

}  // namespace

void NetlinkBatch::append(const void* data, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(data);
  bytes_.insert(bytes_.end(), first, first + size);
}

void NetlinkBatch::pad() { bytes_.resize(align(bytes_.size())); }

void NetlinkBatch::begin_raw(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header) {
  open_message_ = bytes_.size();
  starts_.push_back(open_message_);
  const nlmsghdr message{.nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = std::uint16_t(flags | NLM_F_REQUEST)};
  append(&message, sizeof message);
  append(header.data(), header.size());
  pad();
}

void NetlinkBatch::end() {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - open_message_);
  std::memcpy(bytes_.data() + open_message_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  ++count_;
}

void NetlinkBatch::request_ack() {
  if (starts_.empty()) return;
  std::uint16_t flags = 0;
  std::byte* place = bytes_.data() + starts_.back() + offsetof(nlmsghdr, nlmsg_flags);
  std::memcpy(&flags, place, sizeof flags);
  flags |= NLM_F_ACK;
  std::memcpy(place, &flags, sizeof flags);
}

void NetlinkBatch::put(std::uint16_t type, std::span<const std::byte> value) {
  const std::size_t length = sizeof(nlattr) + value.size();
  if (length > max_attribute) {
    overflow_ = true;
    return;
  }
  const nlattr attribute{.nla_len = static_cast<std::uint16_t>(length), .nla_type = type};
  append(&attribute, sizeof attribute);
  append(value.data(), value.size());
  pad();
}

void NetlinkBatch::put_u8(std::uint16_t type, std::uint8_t value) { put(type, std::as_bytes(std::span(&value, 1))); }
void NetlinkBatch::put_u16(std::uint16_t type, std::uint16_t value) { put(type, std::as_bytes(std::span(&value, 1))); }
void NetlinkBatch::put_u32(std::uint16_t type, std::uint32_t value) { put(type, std::as_bytes(std::span(&value, 1))); }
void NetlinkBatch::put_be16(std::uint16_t type, std::uint16_t value) { put_u16(type, htons(value)); }
void NetlinkBatch::put_be32(std::uint16_t type, std::uint32_t value) { put_u32(type, htonl(value)); }
void NetlinkBatch::put_be64(std::uint16_t type, std::uint64_t value) {
  const std::uint64_t swapped = htobe64(value);
  put(type, std::as_bytes(std::span(&swapped, 1)));
}

void NetlinkBatch::put_string(std::uint16_t type, std::string_view value) {
  const std::string terminated(value);
  put(type, std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
}

std::size_t NetlinkBatch::open(std::uint16_t type) {
  const std::size_t mark = bytes_.size();
  put(type | NLA_F_NESTED, {});
  return mark;
}

void NetlinkBatch::close(std::size_t mark) {
  const std::size_t length = bytes_.size() - mark;
  if (length > max_attribute) {
    overflow_ = true;
    return;
  }
  const auto short_length = static_cast<std::uint16_t>(length);
  std::memcpy(bytes_.data() + mark + offsetof(nlattr, nla_len), &short_length, sizeof short_length);
}

void NetlinkBatch::clear() {
  bytes_.clear();
  starts_.clear();
  count_ = 0;
  overflow_ = false;
}

std::uint8_t NetlinkAttribute::u8() const { return load<std::uint8_t>(value); }
std::uint16_t NetlinkAttribute::u16() const { return load<std::uint16_t>(value); }
std::uint32_t NetlinkAttribute::u32() const { return load<std::uint32_t>(value); }
std::uint32_t NetlinkAttribute::be32() const { return ntohl(load<std::uint32_t>(value)); }
std::uint16_t NetlinkAttribute::be16() const { return ntohs(load<std::uint16_t>(value)); }
std::string_view NetlinkAttribute::string() const {
  const std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
  return text.substr(0, text.find('\0'));
}

void for_each_attribute(std::span<const std::byte> bytes, const std::function<void(const NetlinkAttribute&)>& visit) {
  while (bytes.size() >= sizeof(nlattr)) {
    const auto header = load<nlattr>(bytes);
    if (header.nla_len < sizeof header || header.nla_len > bytes.size()) return;
    visit({static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
           bytes.subspan(sizeof header, header.nla_len - sizeof header)});
    bytes = bytes.subspan(std::min(bytes.size(), align(header.nla_len)));
  }
}

std::optional<NetlinkAttribute> find_attribute(std::span<const std::byte> bytes, std::uint16_t type) {
  std::optional<NetlinkAttribute> found;
  for_each_attribute(bytes, [&](const NetlinkAttribute& attribute) {
    if (!found && attribute.type == type) found = attribute;
  });
  return found;
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  NetlinkSocket result;
  result.fd_ = UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!result.fd_) return sys_fail("open a netlink socket (protocol {})", protocol);
  // Both are comforts (error texts, short acknowledgements): a kernel without them still works.
  const int on = 1;
  ::setsockopt(result.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(result.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return result;
}

Result<> NetlinkSocket::send(NetlinkBatch& batch, bool ack_each) {
  if (batch.overflow_) return fail(ErrorKind::invalid, "a value is too long for a netlink attribute (65531 bytes)");
  if (batch.bytes_.size() > max_batch)
    return fail(ErrorKind::invalid, "netlink request of {} bytes is too large", batch.bytes_.size());
  for (const std::size_t start : batch.starts_) {
    nlmsghdr header;
    std::memcpy(&header, batch.bytes_.data() + start, sizeof header);
    header.nlmsg_seq = ++sequence_;
    if (ack_each) header.nlmsg_flags |= NLM_F_ACK;
    std::memcpy(batch.bytes_.data() + start, &header, sizeof header);
  }
  // The kernel copies the whole datagram; beyond the default send buffer it must be told that we mean it. Every
  // acknowledgement takes a socket buffer of its own on the way back.
  if (batch.bytes_.size() > 64 * 1024) {
    const int size = static_cast<int>(batch.bytes_.size() * 2);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  }
  if (ack_each && batch.count_ > 64) {
    const int size = static_cast<int>(std::min<std::size_t>(batch.count_ * 2048, max_batch));
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  }
  const sockaddr_nl kernel{.nl_family = AF_NETLINK};
  for (;;) {
    const ssize_t sent = ::sendto(fd_.get(), batch.bytes_.data(), batch.bytes_.size(), MSG_NOSIGNAL,
                                  reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent >= 0) return {};
    if (errno != EINTR) return sys_fail("send a netlink request");
  }
}

Result<std::span<const std::byte>> NetlinkSocket::receive(bool wait) {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
  for (;;) {
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t size = ::recvfrom(fd_.get(), buffer_.get(), buffer_size, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT),
                                    reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && !wait && errno == EAGAIN) return std::span<const std::byte>{};
    if (size < 0) return sys_fail("receive a netlink answer");
    // Who administers the namespace may send us messages, too: a container, where the socket was opened inside one.
    if (sender.nl_pid != 0) continue;
    if (static_cast<std::size_t>(size) > buffer_size)
      return fail(ErrorKind::internal, "netlink answer of {} bytes is larger than asked for", size);
    return std::span<const std::byte>(buffer_.get(), static_cast<std::size_t>(size));
  }
}

Result<> NetlinkSocket::execute(NetlinkBatch& batch, std::vector<Failure>* failed) {
  if (batch.empty()) return {};
  const std::uint32_t first = sequence_ + 1;
  CHECK(send(batch, true));
  std::size_t waiting = batch.count_;
  std::optional<Verdict> failure;
  while (waiting > 0) {
    const auto datagram = TRY(receive(true));
    for_each_message(datagram, [&](const nlmsghdr& header, std::span<const std::byte> payload) {
      // Answers to an earlier request that was given up are not ours.
      if (header.nlmsg_type != NLMSG_ERROR || header.nlmsg_seq - first >= batch.count_) return;
      Verdict verdict = read_verdict(header, payload);
      if (waiting > 0) --waiting;
      if (verdict.sys_errno == 0) return;
      if (failed) failed->push_back({verdict.sequence - first, verdict.sys_errno});
      if (!failure) failure = std::move(verdict);
    });
  }
  if (failure) return fail_verdict(*failure);
  return {};
}

Result<> NetlinkSocket::query(NetlinkBatch& batch, const NetlinkVisitor& visit) {
  const std::uint32_t first = sequence_ + 1;
  CHECK(send(batch, false));
  bool done = false;
  std::optional<Verdict> failure;
  while (!done) {
    const auto datagram = TRY(receive(true));
    for_each_message(datagram, [&](const nlmsghdr& header, std::span<const std::byte> payload) {
      if (done || header.nlmsg_seq != first) return;
      if (header.nlmsg_type == NLMSG_DONE) {
        done = true;
        // Its payload says how the dump ended: below zero it was broken off, and what came is not all there is.
        const int end = load<int>(payload);
        if (end < 0) failure = Verdict{.sequence = first, .sys_errno = -end, .text = "the list broke off"};
        visit({header.nlmsg_type, header.nlmsg_flags, {}});
      } else if (header.nlmsg_type == NLMSG_ERROR) {
        done = true;
        Verdict verdict = read_verdict(header, payload);
        if (verdict.sys_errno != 0) failure = std::move(verdict);
      } else {
        visit({header.nlmsg_type, header.nlmsg_flags, payload});
        // A single object is its own end.
        if ((header.nlmsg_flags & NLM_F_MULTI) == 0) done = true;
      }
    });
  }
  if (failure) return fail_verdict(*failure);
  return {};
}

Result<> NetlinkSocket::dump(NetlinkBatch& batch, const std::function<void()>& restart, const NetlinkVisitor& visit) {
  constexpr int tries = 5;
  for (int i = 0; i < tries; ++i) {
    restart();
    bool interrupted = false;
    CHECK(query(batch, [&](const NetlinkAnswer& answer) {
      if ((answer.flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      visit(answer);
    }));
    if (!interrupted) break;
  }
  return {};
}

Result<> NetlinkSocket::subscribe(int group) {
  // Without an address of its own the socket has number 0, which the kernel leaves out of what it multicasts.
  const sockaddr_nl any{.nl_family = AF_NETLINK};
  if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    return sys_fail("bind a netlink socket");
  if (::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0) return {};
  return sys_fail("join netlink group {}", group);
}

Result<> NetlinkSocket::read_events(const NetlinkVisitor& visit) {
  for (;;) {
    const auto datagram = TRY(receive(false));
    if (datagram.empty()) return {};
    for_each_message(datagram, [&](const nlmsghdr& header, std::span<const std::byte> payload) {
      visit({header.nlmsg_type, header.nlmsg_flags, payload});
    });
  }
}

Result<> NetlinkSocket::commit(NetlinkBatch& batch) {
  const std::uint32_t first = sequence_ + 1;
  CHECK(send(batch, false));
  // The kernel has worked through the batch when send returns: what it had to say is in the queue. The last request
  // asked for an acknowledgement, so silence would be a protocol error.
  bool acknowledged = false;
  std::optional<Verdict> failure;
  for (;;) {
    const auto datagram = TRY(receive(false));
    if (datagram.empty()) break;
    for_each_message(datagram, [&](const nlmsghdr& header, std::span<const std::byte> payload) {
      // Answers to an earlier request that was given up are not ours.
      if (header.nlmsg_type != NLMSG_ERROR || header.nlmsg_seq - first >= batch.count_) return;
      Verdict verdict = read_verdict(header, payload);
      if (verdict.sys_errno == 0)
        acknowledged = true;
      else if (!failure)
        failure = std::move(verdict);
    });
  }
  if (failure) return fail_verdict(*failure);
  if (!acknowledged) return fail(ErrorKind::internal, "netfilter did not answer a transaction");
  return {};
}

}  // namespace corten::sys
