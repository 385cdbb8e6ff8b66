#compdef sidecar-cat
_arguments -s -S \
    '--auth[user:password, bearer:TOKEN, @FILE or env:NAME]:secret:' \
    '--binary[how binary messages are written]:format:(hex base64 raw)' \
    '--ca[authorities to trust]:path:_files' \
    '--cert[our certificate]:file:_files' \
    '--close-on-eof[stop when the input has ended and was sent]' \
    '--compress[offer permessage-deflate]' \
    '--count[stop after N messages]:number:' \
    '--dump[on SIGUSR1 print what everybody is waiting for]' \
    '--duration[stop so long after the link came up]:seconds:' \
    '--echo[send back what is received]' \
    '--framing[how messages stand in a stream]:framing:(lines raw length1 length2 length4 length8 fixed\:)' \
    '*--header[a further field of the request]:field:' \
    '--heartbeat[ping after so long a silence]:seconds:' \
    '(-h --help)'{-h,--help}'[print a summary]' \
    '--insecure[take any certificate of anybody]' \
    '--json[events, messages and report as JSON lines]' \
    '--key[the key of our certificate]:file:_files' \
    '--linger[wait for answers before the stop]:seconds:' \
    '--max-message[the largest message]:size:' \
    '--max-redirects[follow so many redirects]:number:' \
    '--no-stdin[read no input]' \
    '--origin[what Origin is to say]:origin:' \
    '--proxy[the HTTP proxy]:url:(env http\://)' \
    '--quiet[nothing on stderr]' \
    '--reconnect[connect again when the link is lost]' \
    '--stats[counters and report at the end]' \
    '*--subprotocol[offered to the peer]:name:' \
    '--timeout[how long connecting may take]:seconds:' \
    '--timestamps[the time before each message]' \
    '--version[print the version]' \
    '1:URL:(ws\:// wss\:// ws+unix\: tcp\:// tls\:// unix\:)'
