#include "trust/timestamp.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/ts.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

namespace corten::trust {
namespace {

constexpr std::size_t max_response = 64U << 10;
constexpr int max_chain_depth = 6;
constexpr int security_level = 2;

struct Free {
  void operator()(TS_RESP* response) const { TS_RESP_free(response); }
  void operator()(TS_VERIFY_CTX* context) const { TS_VERIFY_CTX_free(context); }
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

bool is_strong_hash(int nid) { return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512; }

// What the response says of its time; nothing of it is true yet.
Result<std::time_t> claimed_time(TS_RESP* response) {
  TS_TST_INFO* info = TS_RESP_get_tst_info(response);
  if (info == nullptr) return fail(ErrorKind::invalid, "the timestamp is none: its authority refused");
  const X509_ALGOR* hash = TS_MSG_IMPRINT_get_algo(TS_TST_INFO_get_msg_imprint(info));
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, hash);
  if (!is_strong_hash(OBJ_obj2nid(object))) return fail(ErrorKind::invalid, "the timestamp is over a weak hash");
  std::tm parts{};
  if (ASN1_TIME_to_tm(TS_TST_INFO_get_time(info), &parts) != 1)
    return fail(ErrorKind::invalid, "the timestamp has no time");
  return ::timegm(&parts);
}

// The authorities as they were at that time: their certificates end, what they have signed stays.
Owned<X509_STORE> store_at(const std::vector<Certificate>& authorities, std::time_t time) {
  Owned<X509_STORE> store(X509_STORE_new());
  if (store == nullptr) return store;
  for (const Certificate& authority : authorities) X509_STORE_add_cert(store.get(), authority.get());
  X509_VERIFY_PARAM* how = X509_STORE_get0_param(store.get());
  X509_VERIFY_PARAM_set_time(how, time);
  X509_VERIFY_PARAM_set_depth(how, max_chain_depth);
  X509_VERIFY_PARAM_set_auth_level(how, security_level);
  return store;
}

}  // namespace

Result<Timestamp> timestamp_of(std::string_view response, const std::vector<Certificate>& authorities,
                               std::string_view signature) {
  ERR_clear_error();
  if (response.size() > max_response)
    return fail(ErrorKind::invalid, "the timestamp has more than {} bytes", max_response);
  const auto* at = reinterpret_cast<const unsigned char*>(response.data());
  const auto* end = at + response.size();
  const Owned<TS_RESP> parsed(d2i_TS_RESP(nullptr, &at, static_cast<long>(response.size())));
  ERR_clear_error();
  if (parsed == nullptr || at != end) return fail(ErrorKind::invalid, "the timestamp cannot be read");
  const std::time_t time = TRY(claimed_time(parsed.get()));
  Owned<X509_STORE> store = store_at(authorities, time);
  const Owned<TS_VERIFY_CTX> context(TS_VERIFY_CTX_new());
  STACK_OF(X509)* certificates = sk_X509_new_null();
  BIO* data = BIO_new_mem_buf(signature.data(), static_cast<int>(signature.size()));
  if (store == nullptr || context == nullptr || certificates == nullptr || data == nullptr) {
    sk_X509_free(certificates);
    BIO_free(data);
    return fail(ErrorKind::internal, "no memory to check a timestamp");
  }
  for (const Certificate& authority : authorities)
    if (X509_up_ref(authority.get()) == 1) sk_X509_push(certificates, authority.get());
  // The context takes all of them.
  TS_VERIFY_CTX_set_store(context.get(), store.release());
  TS_VERIFY_CTX_set_certs(context.get(), certificates);
  TS_VERIFY_CTX_set_data(context.get(), data);
  TS_VERIFY_CTX_set_flags(context.get(), TS_VFY_VERSION | TS_VFY_SIGNATURE | TS_VFY_DATA);
  const bool verified = TS_RESP_verify_response(context.get(), parsed.get()) == 1;
  const char* why = verified ? nullptr : ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  if (!verified)
    return fail(ErrorKind::invalid, "the timestamp does not hold: {}", why == nullptr ? "not said why" : why);
  return Timestamp(std::chrono::seconds(time));
}

}  // namespace corten::trust
