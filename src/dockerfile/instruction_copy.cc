// COPY and ADD.
#include <algorithm>
#include <array>

#include "dockerfile/flags.h"
#include "dockerfile/instruction.h"
#include "dockerfile/lines.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

constexpr auto many = FlagRule::Kind::many;
constexpr auto boolean = FlagRule::Kind::boolean;

Result<Flags> read_flags(const Request& request) {
  constexpr std::array copy = {FlagRule{"from"},
                               FlagRule{"chown"},
                               FlagRule{"chmod"},
                               FlagRule{"link", boolean},
                               FlagRule{"parents", boolean},
                               FlagRule{"exclude", many}};
  constexpr std::array add = {FlagRule{"chown"},          FlagRule{"chmod"},    FlagRule{"link", boolean},
                              FlagRule{"exclude", many},  FlagRule{"checksum"}, FlagRule{"keep-git-dir", boolean},
                              FlagRule{"unpack", boolean}};
  return request.keyword == "ADD" ? Flags::read(request.flags, add) : Flags::read(request.flags, copy);
}

// The words of the line in order; a here-document that a word names gives its content.
Result<> take_sources(const Request& request, std::vector<std::string> words, Copy& copy) {
  copy.destination = std::move(words.back());
  words.pop_back();
  if (!request.heredocs.empty() && heredoc_word(copy.destination))
    return fail(ErrorKind::invalid, "{} cannot accept a heredoc as a destination", request.keyword);
  std::size_t next = 0;
  for (std::string& word : words) {
    if (next < request.heredocs.size() && heredoc_word(word))
      copy.files.push_back(request.heredocs[next++]);
    else
      copy.sources.push_back(std::move(word));
  }
  for (const std::string& source : copy.sources) CHECK(check_word(source, request.escape));
  return check_word(copy.destination, request.escape);
}

}  // namespace

Result<Body> parse_copy(const Request& request) {
  const Flags flags = TRY(read_flags(request));
  auto words = TRY(parse_list(request));
  if (words.empty()) return needs_argument(request);
  if (words.size() < 2)
    return fail(ErrorKind::invalid,
                "{} requires at least two arguments, but only one was provided. Destination could not be determined",
                request.keyword);
  Copy copy;
  copy.add = request.keyword == "ADD";
  CHECK(take_sources(request, std::move(words), copy));
  copy.from = flags.text("from");
  copy.chown = flags.text("chown");
  copy.chmod = flags.text("chmod");
  copy.link = flags.is("link");
  copy.parents = flags.is("parents");
  copy.excludes = flags.all("exclude");
  copy.keep_git_dir = flags.is("keep-git-dir");
  if (flags.has("unpack")) copy.unpack = flags.is("unpack");
  copy.checksum = flags.text("checksum");
  for (const std::string* value : {&copy.from, &copy.chown, &copy.chmod, &copy.checksum})
    CHECK(check_word(*value, request.escape));
  for (const std::string& exclude : copy.excludes) CHECK(check_word(exclude, request.escape));
  return copy;
}

}  // namespace corten::dockerfile
