#!/usr/bin/env bash
# The first process of a machine for one test: it sees this machine's files through an overlay that only it writes to,
# has a network of its own, and runs a docker engine. When it ends, all of that is gone.
#
#   init.sh HOME      HOME has the directories `top` and `docker`, both empty
set -euo pipefail

home="$1"
top="$home/top"
root="$top/root"

# The overlay's upper layer must lie on another file system than the lower one, and docker's layers on neither.
mount -t tmpfs -o mode=755 machine "$top"
mkdir "$top/upper" "$top/work" "$root"
mount -t overlay machine -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for own in run tmp root; do
    mount -t tmpfs -o mode=755 machine "$root/$own"
done
chmod 1777 "$root/tmp"
mkdir -p "$root/var/lib/docker" "$root/.machine"
mount --bind "$home/docker" "$root/var/lib/docker"
# Of this machine's own settings for docker none is to count.
rm -rf "$root/etc/docker"
mkdir "$root/etc/docker"
cd "$root"
pivot_root . .machine
umount --lazy /.machine
rmdir /.machine

hostname machine
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
ip link set lo up
# An address that is not loopback's: docker trusts registries on 127.0.0.0/8 without TLS.
ip link add lan type bridge
ip address add 192.168.1.177/24 dev lan
ip link set lan up

# What tutorials call, as far as it means something here.
cd /usr/local/sbin
printf '#!/bin/sh\nexec "$@"\n' >sudo
cat >restart-docker <<'END'
#!/bin/sh
set -e
before="$(cat /run/docker.pid)"
kill "$before"
while [ "$(cat /run/docker.pid 2>/dev/null || echo "$before")" = "$before" ] || ! docker version >/dev/null 2>&1; do
    sleep 0.1
done
END
printf '#!/bin/sh\ncase "$*" in "docker restart" | "restart docker") exec restart-docker ;; esac\n' >service
cp service systemctl
# `docker compose`, where docker has the first generation beside it: a plugin says its name, and is called with it.
mkdir -p /root/.docker/cli-plugins
cat >/root/.docker/cli-plugins/docker-compose <<'END'
#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
    echo '{"SchemaVersion":"0.1.0","Vendor":"Debian","Version":"1.29","ShortDescription":"Compose"}'
    exit
fi
shift
exec docker-compose "$@"
END
chmod +x sudo restart-docker service systemctl /root/.docker/cli-plugins/docker-compose
cd /

# Again when it was asked to restart, and not when the machine is.
until [ -e /run/halt ]; do
    dockerd &
    wait "$!" || true
done
