// completion: scripts for shells, and the hidden command that they ask for words.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/complete.h"

namespace corten::cli {
namespace {

constexpr std::string_view bash_script = R"(# bash completion for corten; load it with: source <(corten completion bash)
_corten_complete() {
    local candidate
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    # bash splits words at ':' and '='; put the names of images back together.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cur prev cword
        _get_comp_words_by_ref -n "=:" cur prev words cword
        words=("${words[@]:1:cword}")
    fi
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(corten __complete "${words[@]}" 2>/dev/null)
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "${words[${#words[@]}-1]}"
    fi
}
complete -o default -o bashdefault -F _corten_complete corten
)";

constexpr std::string_view zsh_script = R"(#compdef corten
# zsh completion for corten; load it with: source <(corten completion zsh)
_corten() {
    local -a candidates
    candidates=("${(@f)$(corten __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        compadd -a candidates
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_corten" ]; then
    _corten
else
    compdef _corten corten
fi
)";

Outcome run_completion(Context& context, const Invocation& invocation) {
  const std::string& shell = invocation.arguments[0];
  if (shell == "bash") {
    context.print(bash_script);
  } else if (shell == "zsh") {
    context.print(zsh_script);
  } else {
    return fail(ErrorKind::invalid, "no completion for shell {}: use bash or zsh", shell);
  }
  return done();
}

Outcome run_complete(Context& context, const Invocation& invocation) {
  for (const auto& word : complete(context, invocation.arguments)) context.print_line(word);
  return done();
}

}  // namespace

const Command completion_command{.usage = "bash|zsh",
                                 .summary = "Generate the autocompletion script for the specified shell",
                                 .min_arguments = 1,
                                 .max_arguments = 1,
                                 .run = run_completion};
const Command complete_command{.usage = "[WORD...]",
                               .summary = "Words that may come next",
                               .max_arguments = many,
                               .run = run_complete,
                               .interspersed = false};

}  // namespace corten::cli
