#!/usr/bin/env bash
# Makes a Redis image out of Debian's redis-server.
#
#   redis-image.sh TAG...
set -euo pipefail

tree="$(mktemp -d)"
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
server="$(command -v redis-server)"
{
    readlink -f "$server"
    ldd "$server" | grep --only-matching '/[^ ]*'
} | while read -r file; do
    install -D "$(readlink -f "$file")" "$tree$file"
done
mkdir -p "$tree/usr/local/bin" "$tree/data" "$tree/tmp"
ln -s "$(readlink -f "$server")" "$tree/usr/local/bin/redis-server"
id="$(tar --create --directory "$tree" --owner=0 --group=0 . | docker import \
    --change 'ENV PATH=/usr/local/bin' --change 'WORKDIR /data' --change 'EXPOSE 6379' \
    --change 'CMD ["redis-server"]' -)"
for tag in "$@"; do
    docker tag "$id" "$tag"
done
