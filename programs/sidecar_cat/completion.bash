# bash completion for sidecar-cat
_sidecar_cat()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $previous in
    --binary)
        mapfile -t COMPREPLY < <(compgen -W 'hex base64 raw' -- "$current")
        return
        ;;
    --framing)
        mapfile -t COMPREPLY < <(compgen -W 'lines raw length1 length2 length4 length8 fixed:' -- "$current")
        return
        ;;
    --ca | --cert | --key)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --proxy)
        mapfile -t COMPREPLY < <(compgen -W 'env http://' -- "$current")
        return
        ;;
    --count | --duration | --linger | --timeout | --heartbeat | --max-message | --max-redirects | --header | --subprotocol | --origin | --auth)
        return
        ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--auth --binary --ca --cert --close-on-eof --compress --count --dump
            --duration --echo --framing --header --heartbeat --help --insecure --json --key --linger --max-message
            --max-redirects --no-stdin --origin --proxy --quiet --reconnect --stats --subprotocol --timeout
            --timestamps --version' -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W 'ws:// wss:// ws+unix: tcp:// tls:// unix:' -- "$current")
        compopt -o nospace 2>/dev/null || true
    fi
}
complete -F _sidecar_cat sidecar-cat
