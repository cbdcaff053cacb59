// Netlink (RFC 3549, linux/netlink.h): building requests, sending many in one system call, reading answers.
//
// A NetlinkBatch is a buffer of requests; a NetlinkSocket sends it and waits for the kernel's verdict on each. A socket
// stays in the network namespace it was opened in, whichever thread uses it later. Neither class locks: a socket
// belongs to one thread at a time.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

class NetlinkBatch {
 public:
  // Starts a request with its fixed header (ifinfomsg, nfgenmsg …). NLM_F_REQUEST is added.
  template <class Header>
  void begin(std::uint16_t type, std::uint16_t flags, const Header& header) {
    begin_raw(type, flags, std::as_bytes(std::span(&header, 1)));
  }
  void begin_raw(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header);
  void end();

  void put(std::uint16_t type, std::span<const std::byte> value);
  // In host byte order, as rtnetlink wants it.
  void put_u8(std::uint16_t type, std::uint8_t value);
  void put_u16(std::uint16_t type, std::uint16_t value);
  void put_u32(std::uint16_t type, std::uint32_t value);
  // In network byte order, as netfilter wants it.
  void put_be16(std::uint16_t type, std::uint16_t value);
  void put_be32(std::uint16_t type, std::uint32_t value);
  void put_be64(std::uint16_t type, std::uint64_t value);
  void put_string(std::uint16_t type, std::string_view value);  // with its terminating zero
  void put_flag(std::uint16_t type) { put(type, {}); }
  // A fixed structure inside an attribute's payload that is not itself an attribute (VETH_INFO_PEER's ifinfomsg).
  template <class Header>
  void put_header(const Header& header) {
    append(&header, sizeof header);
  }
  // Attributes put between open and close are nested in `type`.
  std::size_t open(std::uint16_t type);
  void close(std::size_t mark);

  // The last request shall be acknowledged (execute asks so for all by itself).
  void request_ack();

  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  void clear();

 private:
  friend class NetlinkSocket;
  void append(const void* data, std::size_t size);
  void pad();

  std::vector<std::byte> bytes_;
  std::vector<std::size_t> starts_;  // offset of each request's header
  std::size_t count_ = 0;
  std::size_t open_message_ = 0;
  bool overflow_ = false;  // a value did not fit its 16-bit length: the batch is never sent
};

// One attribute of an answer.
struct NetlinkAttribute {
  std::uint16_t type = 0;
  std::span<const std::byte> value;

  std::uint8_t u8() const;
  std::uint16_t u16() const;
  std::uint32_t u32() const;
  std::uint32_t be32() const;
  std::uint16_t be16() const;
  std::string_view string() const;  // without its terminating zero
};

// Calls `visit` for each well-formed attribute; stops at the first malformed one.
void for_each_attribute(std::span<const std::byte> bytes, const std::function<void(const NetlinkAttribute&)>& visit);
std::optional<NetlinkAttribute> find_attribute(std::span<const std::byte> bytes, std::uint16_t type);

// One message of an answer: its type, and what follows the netlink header.
struct NetlinkAnswer {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::span<const std::byte> payload;

  template <class Header>
  const Header* header() const {
    return payload.size() < sizeof(Header) ? nullptr : reinterpret_cast<const Header*>(payload.data());
  }
  template <class Header>
  std::span<const std::byte> attributes() const {
    constexpr std::size_t size = (sizeof(Header) + NLA_ALIGNTO - 1) & ~std::size_t{NLA_ALIGNTO - 1};
    return payload.size() < size ? std::span<const std::byte>{} : payload.subspan(size);
  }
};

using NetlinkVisitor = std::function<void(const NetlinkAnswer&)>;

class NetlinkSocket {
 public:
  NetlinkSocket() = default;
  // `protocol`: NETLINK_ROUTE or NETLINK_NETFILTER.
  static Result<NetlinkSocket> open(int protocol);

  explicit operator bool() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }

  // Sends all requests at once and waits until each is acknowledged. The kernel works through them one by one and does
  // not stop at a failed one; the first failure is returned, with the kernel's own explanation where it gives one, and
  // `failed` (when given) receives each failed request's index and errno.
  struct Failure {
    std::size_t index;
    int sys_errno;
  };
  Result<> execute(NetlinkBatch& batch, std::vector<Failure>* failed = nullptr);

  // Sends the batch's one request and gives each answer to `visit` until the kernel says that it is done; that last
  // message (NLMSG_DONE) is given, too, for its flags. A dump that the kernel broke off is an error.
  Result<> query(NetlinkBatch& batch, const NetlinkVisitor& visit);
  // The same for a dump whose answers must be of one moment: while the kernel says that its list changed meanwhile
  // (objects may be missing or told twice), `restart` is called and the dump asked for again, a few times. On a list
  // that never holds still the last answers are as good as it gets.
  Result<> dump(NetlinkBatch& batch, const std::function<void()>& restart, const NetlinkVisitor& visit);

  // Joins a multicast group (RTNLGRP_*, NFNLGRP_*), whose messages then wait to be read.
  Result<> subscribe(int group);
  // Gives the messages that are there to `visit`, without waiting. Kind exhausted (ENOBUFS) when some were lost.
  Result<> read_events(const NetlinkVisitor& visit);

  // Sends a batch framed as a netfilter transaction (see nftables.h): all of it takes effect, or nothing.
  Result<> commit(NetlinkBatch& batch);

 private:
  Result<> send(NetlinkBatch& batch, bool ack_each);
  // Receives one datagram of the kernel's. With `wait` false gives an empty span when there is none.
  Result<std::span<const std::byte>> receive(bool wait);

  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
  std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace corten::sys
