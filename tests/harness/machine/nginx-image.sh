#!/usr/bin/env bash
# Makes an nginx image out of Debian's nginx, laid out as the one that tutorials name: servers in /etc/nginx/conf.d.
#
#   nginx-image.sh TAG...
set -euo pipefail

tree="$(mktemp -d)"
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
nginx="$(PATH="$PATH:/usr/sbin" command -v nginx)"
{
    echo "$nginx"
    ldd "$nginx" | grep --only-matching '/[^ ]*'
} | while read -r file; do
    install -D "$(readlink -f "$file")" "$tree$file"
done
mkdir -p "$tree/etc/nginx/conf.d" "$tree/var/log/nginx" "$tree/var/lib/nginx" "$tree/run" "$tree/tmp"
cp /etc/nginx/mime.types "$tree/etc/nginx/"
printf 'root:x:0:0:root:/:/bin/false\n' >"$tree/etc/passwd"
printf 'root:x:0:\n' >"$tree/etc/group"
cat >"$tree/etc/nginx/nginx.conf" <<'END'
user root;
worker_processes 1;
error_log stderr warn;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    access_log /dev/stdout combined;
    include /etc/nginx/conf.d/*.conf;
}
END
id="$(tar --create --directory "$tree" --owner=0 --group=0 . | docker import \
    --change 'EXPOSE 80 443' --change "CMD [\"$nginx\", \"-g\", \"daemon off;\"]" -)"
for tag in "$@"; do
    docker tag "$id" "$tag"
done
