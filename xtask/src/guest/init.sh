#!/usr/bin/busybox sh
# shellcheck shell=dash
# The guest's process 1: mounts what a system mounts, runs the tests, and hands over to systemd or to the end.
# What it tells goes to the second serial line: "@boot KERNEL", of each test "@text NUMBER LINE"
# and "@pass NUMBER SECONDS" or "@fail NUMBER SECONDS", "@kernel COMPLAINT", and at last "@end".
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin HOME=/root RUST_BACKTRACE=0 TSUBO_GUEST=1
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
exec </dev/null
stty -F /dev/ttyS1 raw -echo
echo "@boot $(uname -r), $(nproc) processors, lsm $(cat /sys/kernel/security/lsm)" >/dev/ttyS1

# Whoever built the disk need not have been root.
chown -R 0:0 /etc /guest /home /root /run /srv /tmp /usr /var
chmod 1777 /tmp /var/tmp /dev/shm
chmod 755 / /etc /usr /var /home
# As udev makes it.
chmod 666 /dev/net/tun
chmod 4755 /usr/bin/newuidmap /usr/bin/newgidmap /usr/bin/mount
chown -R 1000:1000 /home/ann
mkdir /run/user
mkdir -m 700 /run/user/1000
chown 1000:1000 /run/user/1000

# As a service manager does it: every controller is handed down.
tr ' ' '\n' </sys/fs/cgroup/cgroup.controllers | while read -r controller; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
hostname guest
ip link set lo up

xargs -P "$(($(nproc) + 1))" -n 4 /guest/one.sh </guest/together
xargs -P 1 -n 4 /guest/one.sh </guest/alone
# It takes seconds to come up.
if [ -s /guest/by_systemd ] && [ -x /usr/lib/systemd/systemd ]; then
    exec /usr/lib/systemd/systemd
fi
exec /guest/end.sh
