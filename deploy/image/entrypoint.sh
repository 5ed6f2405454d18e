#!/bin/sh
# What `docker run IMAGE ...` means: a configuration file, a subcommand or an option is for the registry; anything else is
# a program to run (`docker run --rm -it IMAGE sh`).
set -e

v2=/etc/docker/registry/config.yml
v3=/etc/distribution/config.yml
given=/usr/share/roadstead

# Whether a file is no longer the one that the image came with.
replaced() { [ -e "$1" ] && ! cmp -s "$1" "$2"; }

# Images of version 3 keep their configuration elsewhere than those of version 2. Whichever file was replaced counts, so
# that both images' mounts work; if both were, the one that was named.
if [ $# -eq 1 ]; then
    case "$1" in
        "$v2") if replaced "$v3" "$given/config-v3.yml" && ! replaced "$v2" "$given/config.yml"; then set -- "$v3"; fi ;;
        "$v3") if replaced "$v2" "$given/config.yml" && ! replaced "$v3" "$given/config-v3.yml"; then set -- "$v2"; fi ;;
    esac
fi

case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac

exec "$@"
