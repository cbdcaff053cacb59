// nf_tables through raw netlink (linux/netfilter/nf_tables.h): an NftBatch is one transaction, encoded by hand.
//
// Why not libnftables: it parses text, keeps megabytes of context, and is a shared library only; one element added
// costs it ten times what it costs here. What is here is the part of the protocol that container networks use.
//
// A rule is a list of expressions that work on 4-byte registers: load something, compare or look it up, act. Registers
// are numbered from 0 (NFT_REG32_00); a value longer than 4 bytes takes the following ones too.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/netlink.h"

namespace corten::sys {

using Bytes = std::vector<std::byte>;

// Types as the nft program names them, so that `nft list ruleset` prints our sets readably. Six bits each.
enum class NftType : std::uint32_t {
  none = 0,
  ipv4_address = 7,
  inet_protocol = 12,
  inet_service = 13,
  interface_name = 41,
};
// The type of a concatenation, first part first.
constexpr std::uint32_t nft_concat(std::initializer_list<NftType> parts) {
  std::uint32_t type = 0;
  for (const NftType part : parts) type = type << 6 | static_cast<std::uint32_t>(part);
  return type;
}

struct NftSetSpec {
  std::string name;
  std::uint32_t key_type = 0;
  std::uint32_t key_size = 0;   // bytes; parts of a concatenation are padded to 4
  std::uint32_t data_type = 0;  // of a map
  std::uint32_t data_size = 0;  // 0: a set
  bool interval = false;        // elements are starts and ends of ranges
};

struct NftElement {
  Bytes key;
  Bytes data;           // of a map
  std::string comment;  // at most 127 bytes are kept
  bool interval_end = false;
};

enum class NftHook : std::uint8_t { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 };

class NftBatch {
 public:
  // `family`: NFPROTO_IPV4, NFPROTO_IPV6 or NFPROTO_INET.
  NftBatch(std::uint8_t family, std::string table);

  void add_table();
  // An error when there is none.
  void delete_table();
  void add_chain(std::string_view name);
  // `type`: "filter" or "nat". Policy accept, or drop.
  void add_base_chain(std::string_view name, std::string_view type, NftHook hook, std::int32_t priority,
                      bool drop = false);
  void add_set(const NftSetSpec& set);
  // Adding a plain element that exists is no error; a map's element with other data is (EEXIST).
  void add_elements(std::string_view set, std::span<const NftElement> elements);
  // An error (ENOENT) when one does not exist.
  void delete_elements(std::string_view set, std::span<const NftElement> elements);

  void begin_rule(std::string_view chain);
  void end_rule();
  // Expressions of the rule being built.
  void load_meta(std::uint32_t key, unsigned reg);                              // NFT_META_*
  void load_ct(std::uint32_t key, unsigned reg);                                // NFT_CT_*
  void load_network(std::uint32_t offset, std::uint32_t size, unsigned reg);    // from the IP header
  void load_transport(std::uint32_t offset, std::uint32_t size, unsigned reg);  // from the TCP/UDP/SCTP header
  void load_fib_daddr_type(unsigned reg);                                       // RTN_*
  void mask(unsigned reg, std::span<const std::byte> mask);                     // reg &= mask
  void compare(unsigned reg, bool equal, std::span<const std::byte> value);
  void lookup(std::string_view set, unsigned reg, bool inverted = false);
  void lookup_map(std::string_view map, unsigned reg, unsigned result_reg);
  void dnat(std::uint8_t family, unsigned address_reg, unsigned port_reg);
  void masquerade();
  void verdict(std::int32_t code, std::string_view chain = {});  // NF_ACCEPT, NF_DROP, NFT_JUMP …

  Result<> commit(NetlinkSocket& socket);

 private:
  void begin(std::uint16_t message, std::uint16_t flags);
  std::size_t open_expression(std::string_view name);
  void close_expression(std::size_t mark);
  void put_data(std::uint16_t type, std::span<const std::byte> value);
  void put_elements(std::uint16_t message, std::uint16_t flags, std::string_view set,
                    std::span<const NftElement> elements);

  NetlinkBatch batch_;
  std::uint8_t family_;
  std::string table_;
  std::uint32_t set_id_ = 0;
  std::size_t rule_mark_ = 0;
  std::size_t expression_data_ = 0;
};

// Key parts of a concatenation: each padded with zeros to a multiple of 4 bytes.
void nft_append_u8(Bytes& bytes, std::uint8_t value);
void nft_append_be16(Bytes& bytes, std::uint16_t value);
void nft_append_be32(Bytes& bytes, std::uint32_t value);
void nft_append_name(Bytes& bytes, std::string_view link);  // 16 bytes

// Reads back a set's elements. Kind not_found when there is no such table or set.
Result<std::vector<NftElement>> list_nft_elements(NetlinkSocket& socket, std::uint8_t family, std::string_view table,
                                                  std::string_view set);
Result<std::vector<std::string>> list_nft_tables(NetlinkSocket& socket, std::uint8_t family);
// The chains that hang on a hook, of all tables of the family.
struct NftBaseChain {
  std::string table;
  std::string name;
  NftHook hook = NftHook::prerouting;
  bool drops = false;  // its policy
};
Result<std::vector<NftBaseChain>> list_nft_base_chains(NetlinkSocket& socket, std::uint8_t family);

}  // namespace corten::sys
