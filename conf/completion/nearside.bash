# bash completion for nearside                                          -*- shell-script -*-
# Needs nothing but bash: no helper of the bash-completion package is used.

_nearside()
{
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} candidate
    local words='-c -t -h --config --test --print-config --version --help --docs'
    COMPREPLY=()
    [[ ${COMP_WORDS[1]} == top ]] && words='--admin --ca --once --help'
    case $previous in
    -c | --config)
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -f -X '!*.conf' -- "$word"; compgen -d -S / -- "$word")
        compopt -o nospace -o filenames 2>/dev/null
        return
        ;;
    --ca)
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
        return
        ;;
    --docs)
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -W 'configuration metrics conf man' -- "$word")
        return
        ;;
    esac
    case $word in
    -*)
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -W "$words" -- "$word")
        ;;
    t | to | top)
        COMPREPLY=(top)
        ;;
    *=*) # REGION=URL
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -W 'http:// https://' -- "${word#*=}")
        compopt -o nospace 2>/dev/null
        ;;
    esac
}

complete -F _nearside nearside
