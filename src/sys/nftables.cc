#include "sys/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace corten::sys {
namespace {

constexpr std::uint16_t message_type(std::uint16_t message) { return NFNL_SUBSYS_NFTABLES << 8 | message; }

// Where libnftnl keeps an element's comment: records of type, length, value, the comment being type 0.
constexpr std::byte comment_record{0};
constexpr std::size_t max_comment = 127;
// An element of a map of ports takes about 150 bytes; a list of them is one attribute of at most 64 KiB.
constexpr std::size_t elements_per_message = 200;

// How the nft program shall print keys, as libnftnl stores it: a record of type 0 (byte order of the key), length 4.
// Link names are strings, which it reads in host order; everything else of ours is in network order.
Bytes key_order(std::uint32_t key_type) {
  const std::uint32_t order = key_type == nft_concat({NftType::interface_name}) ? 1 : 2;
  Bytes bytes{std::byte{0}, std::byte{sizeof order}};
  const auto value = std::as_bytes(std::span(&order, 1));
  bytes.insert(bytes.end(), value.begin(), value.end());
  return bytes;
}

nfgenmsg family_header(std::uint8_t family) { return {.nfgen_family = family, .version = NFNETLINK_V0}; }

Bytes comment_bytes(std::string_view comment) {
  comment = comment.substr(0, max_comment);
  Bytes bytes{comment_record, std::byte(comment.size() + 1)};
  const auto text = std::as_bytes(std::span(comment));
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.push_back(std::byte{0});
  return bytes;
}

std::string read_comment(std::span<const std::byte> bytes) {
  while (bytes.size() >= 2) {
    const auto size = std::to_integer<std::size_t>(bytes[1]);
    if (size > bytes.size() - 2) break;
    if (bytes[0] == comment_record) return std::string(NetlinkAttribute{0, bytes.subspan(2, size)}.string());
    bytes = bytes.subspan(2 + size);
  }
  return {};
}

Bytes read_data(std::span<const std::byte> value) {
  const auto data = find_attribute(value, NFTA_DATA_VALUE);
  return data ? Bytes(data->value.begin(), data->value.end()) : Bytes{};
}

NftElement read_element(std::span<const std::byte> bytes) {
  NftElement element;
  for_each_attribute(bytes, [&](const NetlinkAttribute& attribute) {
    switch (attribute.type) {
      case NFTA_SET_ELEM_KEY: element.key = read_data(attribute.value); break;
      case NFTA_SET_ELEM_DATA: element.data = read_data(attribute.value); break;
      case NFTA_SET_ELEM_USERDATA: element.comment = read_comment(attribute.value); break;
      case NFTA_SET_ELEM_FLAGS: element.interval_end = (attribute.be32() & NFT_SET_ELEM_INTERVAL_END) != 0; break;
      default: break;
    }
  });
  return element;
}

std::uint32_t register_number(unsigned reg) { return NFT_REG32_00 + reg; }

}  // namespace

NftBatch::NftBatch(std::uint8_t family, std::string table) : family_(family), table_(std::move(table)) {
  batch_.begin(NFNL_MSG_BATCH_BEGIN, 0,
               nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)});
  batch_.end();
}

void NftBatch::begin(std::uint16_t message, std::uint16_t flags) {
  batch_.begin(message_type(message), flags, family_header(family_));
}

void NftBatch::add_table() {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  batch_.put_string(NFTA_TABLE_NAME, table_);
  batch_.end();
}

void NftBatch::delete_table() {
  begin(NFT_MSG_DELTABLE, 0);
  batch_.put_string(NFTA_TABLE_NAME, table_);
  batch_.end();
}

void NftBatch::add_chain(std::string_view name) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  batch_.put_string(NFTA_CHAIN_TABLE, table_);
  batch_.put_string(NFTA_CHAIN_NAME, name);
  batch_.end();
}

void NftBatch::add_base_chain(std::string_view name, std::string_view type, NftHook hook, std::int32_t priority,
                              bool drop) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  batch_.put_string(NFTA_CHAIN_TABLE, table_);
  batch_.put_string(NFTA_CHAIN_NAME, name);
  const auto mark = batch_.open(NFTA_CHAIN_HOOK);
  batch_.put_be32(NFTA_HOOK_HOOKNUM, static_cast<std::uint32_t>(hook));
  batch_.put_be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(priority));
  batch_.close(mark);
  batch_.put_be32(NFTA_CHAIN_POLICY, drop ? NF_DROP : NF_ACCEPT);
  batch_.put_string(NFTA_CHAIN_TYPE, type);
  batch_.end();
}

void NftBatch::add_set(const NftSetSpec& set) {
  std::uint32_t flags = 0;
  if (set.interval) flags |= NFT_SET_INTERVAL;
  if (set.data_size != 0) flags |= NFT_SET_MAP;
  begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  batch_.put_string(NFTA_SET_TABLE, table_);
  batch_.put_string(NFTA_SET_NAME, set.name);
  batch_.put_be32(NFTA_SET_FLAGS, flags);
  batch_.put_be32(NFTA_SET_KEY_TYPE, set.key_type);
  batch_.put_be32(NFTA_SET_KEY_LEN, set.key_size);
  if (set.data_size != 0) {
    batch_.put_be32(NFTA_SET_DATA_TYPE, set.data_type);
    batch_.put_be32(NFTA_SET_DATA_LEN, set.data_size);
  }
  batch_.put_be32(NFTA_SET_ID, ++set_id_);
  batch_.put(NFTA_SET_USERDATA, key_order(set.key_type));
  batch_.end();
}

void NftBatch::put_data(std::uint16_t type, std::span<const std::byte> value) {
  const auto mark = batch_.open(type);
  batch_.put(NFTA_DATA_VALUE, value);
  batch_.close(mark);
}

void NftBatch::put_elements(std::uint16_t message, std::uint16_t flags, std::string_view set,
                            std::span<const NftElement> elements) {
  while (!elements.empty()) {
    const auto chunk = elements.first(std::min(elements.size(), elements_per_message));
    elements = elements.subspan(chunk.size());
    begin(message, flags);
    batch_.put_string(NFTA_SET_ELEM_LIST_TABLE, table_);
    batch_.put_string(NFTA_SET_ELEM_LIST_SET, set);
    const auto list = batch_.open(NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const NftElement& element : chunk) {
      const auto item = batch_.open(NFTA_LIST_ELEM);
      put_data(NFTA_SET_ELEM_KEY, element.key);
      if (!element.data.empty()) put_data(NFTA_SET_ELEM_DATA, element.data);
      if (element.interval_end) batch_.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
      if (!element.comment.empty()) batch_.put(NFTA_SET_ELEM_USERDATA, comment_bytes(element.comment));
      batch_.close(item);
    }
    batch_.close(list);
    batch_.end();
  }
}

void NftBatch::add_elements(std::string_view set, std::span<const NftElement> elements) {
  put_elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements);
}

void NftBatch::delete_elements(std::string_view set, std::span<const NftElement> elements) {
  put_elements(NFT_MSG_DELSETELEM, 0, set, elements);
}

void NftBatch::begin_rule(std::string_view chain) {
  begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  batch_.put_string(NFTA_RULE_TABLE, table_);
  batch_.put_string(NFTA_RULE_CHAIN, chain);
  rule_mark_ = batch_.open(NFTA_RULE_EXPRESSIONS);
}

void NftBatch::end_rule() {
  batch_.close(rule_mark_);
  batch_.end();
}

std::size_t NftBatch::open_expression(std::string_view name) {
  const auto mark = batch_.open(NFTA_LIST_ELEM);
  batch_.put_string(NFTA_EXPR_NAME, name);
  expression_data_ = batch_.open(NFTA_EXPR_DATA);
  return mark;
}

void NftBatch::close_expression(std::size_t mark) {
  batch_.close(expression_data_);
  batch_.close(mark);
}

void NftBatch::load_meta(std::uint32_t key, unsigned reg) {
  const auto mark = open_expression("meta");
  batch_.put_be32(NFTA_META_KEY, key);
  batch_.put_be32(NFTA_META_DREG, register_number(reg));
  close_expression(mark);
}

void NftBatch::load_ct(std::uint32_t key, unsigned reg) {
  const auto mark = open_expression("ct");
  batch_.put_be32(NFTA_CT_KEY, key);
  batch_.put_be32(NFTA_CT_DREG, register_number(reg));
  close_expression(mark);
}

void NftBatch::load_network(std::uint32_t offset, std::uint32_t size, unsigned reg) {
  const auto mark = open_expression("payload");
  batch_.put_be32(NFTA_PAYLOAD_DREG, register_number(reg));
  batch_.put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
  batch_.put_be32(NFTA_PAYLOAD_OFFSET, offset);
  batch_.put_be32(NFTA_PAYLOAD_LEN, size);
  close_expression(mark);
}

void NftBatch::load_transport(std::uint32_t offset, std::uint32_t size, unsigned reg) {
  const auto mark = open_expression("payload");
  batch_.put_be32(NFTA_PAYLOAD_DREG, register_number(reg));
  batch_.put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
  batch_.put_be32(NFTA_PAYLOAD_OFFSET, offset);
  batch_.put_be32(NFTA_PAYLOAD_LEN, size);
  close_expression(mark);
}

void NftBatch::load_fib_daddr_type(unsigned reg) {
  const auto mark = open_expression("fib");
  batch_.put_be32(NFTA_FIB_DREG, register_number(reg));
  batch_.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  batch_.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  close_expression(mark);
}

void NftBatch::mask(unsigned reg, std::span<const std::byte> mask) {
  const auto mark = open_expression("bitwise");
  batch_.put_be32(NFTA_BITWISE_SREG, register_number(reg));
  batch_.put_be32(NFTA_BITWISE_DREG, register_number(reg));
  batch_.put_be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
  put_data(NFTA_BITWISE_MASK, mask);
  put_data(NFTA_BITWISE_XOR, Bytes(mask.size()));
  close_expression(mark);
}

void NftBatch::compare(unsigned reg, bool equal, std::span<const std::byte> value) {
  const auto mark = open_expression("cmp");
  batch_.put_be32(NFTA_CMP_SREG, register_number(reg));
  batch_.put_be32(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  put_data(NFTA_CMP_DATA, value);
  close_expression(mark);
}

void NftBatch::lookup(std::string_view set, unsigned reg, bool inverted) {
  const auto mark = open_expression("lookup");
  batch_.put_string(NFTA_LOOKUP_SET, set);
  batch_.put_be32(NFTA_LOOKUP_SREG, register_number(reg));
  if (inverted) batch_.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  close_expression(mark);
}

void NftBatch::lookup_map(std::string_view map, unsigned reg, unsigned result_reg) {
  const auto mark = open_expression("lookup");
  batch_.put_string(NFTA_LOOKUP_SET, map);
  batch_.put_be32(NFTA_LOOKUP_SREG, register_number(reg));
  batch_.put_be32(NFTA_LOOKUP_DREG, register_number(result_reg));
  close_expression(mark);
}

void NftBatch::dnat(std::uint8_t family, unsigned address_reg, unsigned port_reg) {
  const auto mark = open_expression("nat");
  batch_.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  batch_.put_be32(NFTA_NAT_FAMILY, family);
  batch_.put_be32(NFTA_NAT_REG_ADDR_MIN, register_number(address_reg));
  batch_.put_be32(NFTA_NAT_REG_PROTO_MIN, register_number(port_reg));
  close_expression(mark);
}

void NftBatch::masquerade() { close_expression(open_expression("masq")); }

void NftBatch::verdict(std::int32_t code, std::string_view chain) {
  const auto mark = open_expression("immediate");
  batch_.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  const auto data = batch_.open(NFTA_IMMEDIATE_DATA);
  const auto verdict = batch_.open(NFTA_DATA_VERDICT);
  batch_.put_be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code));
  if (!chain.empty()) batch_.put_string(NFTA_VERDICT_CHAIN, chain);
  batch_.close(verdict);
  batch_.close(data);
  close_expression(mark);
}

Result<> NftBatch::commit(NetlinkSocket& socket) {
  if (batch_.count() <= 1) return {};
  // Only the last request asks for an acknowledgement: failures of all others are reported without.
  batch_.request_ack();
  batch_.begin(NFNL_MSG_BATCH_END, 0,
               nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)});
  batch_.end();
  return wrap(socket.commit(batch_), fmt::format("change nftables table {}", table_));
}

void nft_append_u8(Bytes& bytes, std::uint8_t value) {
  bytes.push_back(std::byte{value});
  bytes.resize(bytes.size() + 3);
}

void nft_append_be16(Bytes& bytes, std::uint16_t value) {
  bytes.push_back(std::byte(value >> 8));
  bytes.push_back(std::byte(value & 0xff));
  bytes.resize(bytes.size() + 2);
}

void nft_append_be32(Bytes& bytes, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(std::byte(value >> shift & 0xff));
}

void nft_append_name(Bytes& bytes, std::string_view link) {
  const auto text = std::as_bytes(std::span(link.substr(0, 15)));
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.resize(bytes.size() + 16 - text.size());
}

Result<std::vector<NftElement>> list_nft_elements(NetlinkSocket& socket, std::uint8_t family, std::string_view table,
                                                  std::string_view set) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETSETELEM), NLM_F_DUMP, family_header(family));
  batch.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
  batch.put_string(NFTA_SET_ELEM_LIST_SET, set);
  batch.end();
  std::vector<NftElement> elements;
  CHECK_AS(socket.dump(
               batch, [&] { elements.clear(); },
               [&](const NetlinkAnswer& answer) {
                 const auto list = find_attribute(answer.attributes<nfgenmsg>(), NFTA_SET_ELEM_LIST_ELEMENTS);
                 if (!list) return;
                 for_each_attribute(
                     list->value, [&](const NetlinkAttribute& item) { elements.push_back(read_element(item.value)); });
               }),
           fmt::format("list set {} of nftables table {}", set, table));
  return elements;
}

Result<std::vector<std::string>> list_nft_tables(NetlinkSocket& socket, std::uint8_t family) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETTABLE), NLM_F_DUMP, family_header(family));
  batch.end();
  std::vector<std::string> tables;
  CHECK_AS(socket.dump(
               batch, [&] { tables.clear(); },
               [&](const NetlinkAnswer& answer) {
                 const auto name = find_attribute(answer.attributes<nfgenmsg>(), NFTA_TABLE_NAME);
                 if (name) tables.emplace_back(name->string());
               }),
           "list nftables tables");
  return tables;
}

Result<std::vector<NftBaseChain>> list_nft_base_chains(NetlinkSocket& socket, std::uint8_t family) {
  NetlinkBatch batch;
  batch.begin(message_type(NFT_MSG_GETCHAIN), NLM_F_DUMP, family_header(family));
  batch.end();
  std::vector<NftBaseChain> chains;
  const auto read = [&](const NetlinkAnswer& answer) {
    const auto attributes = answer.attributes<nfgenmsg>();
    const auto hook = find_attribute(attributes, NFTA_CHAIN_HOOK);
    const auto number = hook ? find_attribute(hook->value, NFTA_HOOK_HOOKNUM) : std::nullopt;
    const auto table = find_attribute(attributes, NFTA_CHAIN_TABLE), name = find_attribute(attributes, NFTA_CHAIN_NAME);
    if (!number || !table || !name) return;
    const auto policy = find_attribute(attributes, NFTA_CHAIN_POLICY);
    chains.push_back({std::string(table->string()), std::string(name->string()), static_cast<NftHook>(number->be32()),
                      policy && policy->be32() == NF_DROP});
  };
  CHECK_AS(socket.dump(batch, [&] { chains.clear(); }, read), "list nftables chains");
  return chains;
}

}  // namespace corten::sys
