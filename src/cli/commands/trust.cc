// trust inspect: what the daemon's signature policy says of an image that is here. Corten's own; the path is, too.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/style.h"

namespace corten::cli {
namespace {

constexpr Flag trust_inspect_flags[] = {
    {.name = "format",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Output format (\"json\": the whole answer as one line)"},
};

bool true_at(const json::Value& value, std::string_view key) {
  const json::Value* found = field(value, key);
  return found != nullptr && found->is_bool() && found->get_bool();
}

// One repository: its rule, then who was found and what does not count.
std::string verdict_text(const json::Value& verdict) {
  const std::string repository = text_at(verdict, "Repository"), rule = text_at(verdict, "Rule");
  const std::string wants = text_at(verdict, "Wants");
  const bool accepted = true_at(verdict, "Accepted");
  const auto& signers = array_at(verdict, "SignedBy");
  const auto& reasons = array_at(verdict, "NotCounted");
  std::string out = true_at(verdict, "Ancestor") ? "what it was made from, " + text_at(verdict, "Image") + ", " : "";
  out += fmt::format("{}: {} by {}\n", repository.empty() ? "without a name" : repository,
                     accepted ? "accepted" : "refused", rule == "default" ? "the default" : "the rule " + rule);
  out += fmt::format("  wants {}\n", wants);
  for (const json::Value& signer : signers) out += fmt::format("  signed by {}\n", text_of(signer));
  for (const json::Value& reason : reasons) out += fmt::format("  not counted: {}\n", text_of(reason));
  if (!accepted && signers.empty() && reasons.empty() && text_at(verdict, "Action") != "reject")
    out += "  there is no signature here; pull looks for those in the registry\n";
  return out;
}

Outcome run_trust_inspect(Context& context, const Invocation& invocation) {
  const std::string format = invocation.flags.string("format");
  if (!format.empty() && format != "json")
    return fail(ErrorKind::invalid, "invalid --format {:?}: json is the only one", format);
  client::Client& client = *TRY(context.client());
  const json::Value answer =
      TRY(client.get(fmt::format("/images/{}/trust", client::path_part(invocation.arguments[0])), {}));
  const int code = true_at(answer, "Accepted") ? 0 : 1;
  if (!format.empty()) {
    context.print(json::write(answer) + "\n");
    return done(code);
  }
  const std::string policy = text_at(answer, "Policy");
  std::string out =
      fmt::format("Image:   {}\nPolicy:  {}\nVerdict: {}\n", text_at(answer, "Id"),
                  policy.empty() ? "none, everything is accepted" : policy, code == 0 ? "may be run" : "is refused");
  bool explained = code == 0;
  for (const json::Value& verdict : array_at(answer, "Verdicts")) {
    explained = explained || !true_at(verdict, "Accepted");
    out += "\n" + verdict_text(verdict);
  }
  if (!explained) out += "\n" + text_at(answer, "Refusal") + "\n";
  context.print(printable_lines(out));
  return done(code);
}

}  // namespace

const Command trust_inspect_command{
    .usage = "[OPTIONS] IMAGE",
    .summary = "Show what the daemon's signature policy says of an image",
    .description =
        "Show what the daemon's signature policy says of an image that is here, and who has signed it.\n"
        "Exit code 1: it is refused.",
    .min_arguments = 1,
    .max_arguments = 1,
    .flags = trust_inspect_flags,
    .run = run_trust_inspect,
    .completes = Completes::images};

}  // namespace corten::cli
