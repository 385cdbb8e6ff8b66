#compdef sidecar-cat
_arguments -s -S \
    '--auth[user:password, @FILE or env:NAME]:secret:' \
    '--bearer[a token, @FILE or env:NAME]:token:' \
    '--binary[how binary messages are written]:format:(hex base64 raw)' \
    '--ca[authorities to trust]:path:_files' \
    '--cert[our certificate]:file:_files' \
    '--close-on-eof[stop when the input has ended and was sent]' \
    '--compress[offer permessage-deflate]' \
    '--count[stop after N messages]:number:' \
    '--force[--record replaces a file]' \
    '*'{-H,--header}'[a further field of the request]:field:' \
    '(-h --help)'{-h,--help}'[print a summary]' \
    '--insecure[accept any certificate]' \
    '--json[events, messages and report as JSON lines]' \
    '--key[the key of our certificate]:file:_files' \
    '--listen[serve here, no URL]:address:' \
    '--max-message[the largest message]:size:' \
    '*--origin[pages that may connect]:origin:' \
    '--ping-interval[ping after so long a silence]:seconds:' \
    '--proxy[the HTTP proxy]:url:(env http\://)' \
    '--quiet[nothing on stderr]' \
    '--reconnect[connect again when the link is lost]' \
    '--record[record in a new file]:file:_files' \
    '--relay[serve what the URL sends here]:address:' \
    '--speed[play N times as fast]:number:' \
    '--stats[counters and report at the end]' \
    '*--subprotocol[offered to the peer]:name:' \
    '--timeout[how long connecting may take]:seconds:' \
    '--timestamps[the time before each message]' \
    '--verbose[events of the link and the log on stderr]' \
    '--version[print the version]' \
    '1:URL or recording:(ws\:// wss\:// ws+unix\: tcp\:// tls\:// unix\: nats\://)' \
    '2::port:'
