# shellcheck shell=bash
# Sourced by the exercises: HTTP with nothing but bash.

# get PORT PATH STATUS TEXT: fails unless the answer has that status and contains that text.
get() {
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
    answer=$(tr -d '\0' <&3)
    exec 3>&-
    case $answer in
    "HTTP/1."[01]" $3 "*"$4"*) ;;
    *) echo "GET $2: wanted $3 with \"$4\", got: ${answer:0:300}" >&2; return 1 ;;
    esac
}
