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
    --ca | --cert | --key | --record)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --proxy)
        mapfile -t COMPREPLY < <(compgen -W 'env http://' -- "$current")
        return
        ;;
    --listen | --relay)
        mapfile -t COMPREPLY < <(compgen -W '127.0.0.1: 0.0.0.0: tcp:// unix:' -- "$current")
        compopt -o nospace 2>/dev/null || true
        return
        ;;
    --auth | --bearer | --count | --header | -H | --max-message | --origin | --ping-interval | --speed | --subprotocol | --timeout)
        return
        ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--auth --bearer --binary --ca --cert --close-on-eof --compress --count
            --force --header --help --insecure --json --key --listen --max-message --origin --ping-interval --proxy --quiet --reconnect --record --relay --speed --stats
            --subprotocol --timeout --timestamps --verbose --version' -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W 'ws:// wss:// ws+unix: tcp:// tls:// unix: nats://' -- "$current"; compgen -f -X '!*.sidecar' -- "$current")
        compopt -o nospace 2>/dev/null || true
    fi
}
complete -F _sidecar_cat sidecar-cat
