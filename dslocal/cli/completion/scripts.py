"""The scripts with which a shell gets its candidates from dslocal.

All three scripts send the line as Typer's script for bash does: ``COMP_WORDS`` is the line up to
the cursor, ``COMP_CWORD`` the number of the word that is being typed, and the output has one
candidate in each line. The shell never evaluates any of it.
"""

from __future__ import annotations

REQUEST_VARIABLE = "_DSLOCAL_COMPLETE"  # is set where a shell asks
INSTALL = {
    "bash": "dslocal completion bash >> ~/.bashrc",
    "fish": "dslocal completion fish > ~/.config/fish/completions/dslocal.fish",
    "zsh": "dslocal completion zsh >> ~/.zshrc",
}
# bash splits nano:Q8_0 and --kv=f16 into three words each and replaces only the last, so the words
# are joined, and what the line has already is cut off each candidate.
BASH = r"""
_dslocal_completion() {
    local IFS=' ' i n=0 word line head candidate
    local -a words
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((n > 1)) && [[ $word == [:=]* || ${words[n-1]} == *[:=] ]]; then
            words[n-1]+=$word
        else
            words[n++]=$word
        fi
    done
    word=${words[n-1]} head=
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && head=${word%"${word##*:}"}
    line="${words[*]}"
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate ]] || continue
        candidate=${candidate#"$head"}
        [[ $candidate == */ ]] && compopt -o nospace 2>/dev/null
        if [[ $word != [\"\']* ]]; then
            printf -v candidate '%q' "$candidate"
            candidate=${candidate/#\\~/\~}
        fi
        COMPREPLY+=("$candidate")
    done < <(
        COMP_WORDS=$line COMP_CWORD=$((n - 1)) _DSLOCAL_COMPLETE=complete_bash "$1" 2>/dev/null
    )
}
complete -o bashdefault -o default -F _dslocal_completion dslocal
"""
FISH = r"""
function __dslocal_asked
    set -lx COMP_WORDS (commandline -cp | string collect)
    set -lx COMP_CWORD (count (commandline -opc))
    set -lx _DSLOCAL_COMPLETE complete_bash
    dslocal 2>/dev/null | string match -r '.+'
end
function __dslocal_complete
    set -l word (commandline -ct)
    set -l option (string match -r '^--[^=]+=' -- $word)
    set -l found "$option"(__dslocal_asked)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path $word
    end
end
complete --command dslocal --no-files --arguments '(__dslocal_complete)'
"""
ZSH = r"""
#compdef dslocal
_dslocal() {
    local line="${(j: :)words[1,CURRENT]}"
    local -a found folders
    found=("${(@f)$(
        COMP_WORDS=$line COMP_CWORD=$((CURRENT - 1)) _DSLOCAL_COMPLETE=complete_bash \
            $words[1] 2>/dev/null
    )}")
    found=(${found:#})
    [[ $words[CURRENT] == --*=* ]] && compset -P '*='
    (( $#found )) || { _files; return }
    folders=(${(M)found:#*/})
    found=(${found:#*/})
    (( $#found )) && compadd -a found
    (( $#folders )) && compadd -S '' -a folders
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _dslocal dslocal
"""
SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}


def register_shells() -> None:
    """Let Typer answer a shell that asks."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()  # registers the shells, as a side effect
