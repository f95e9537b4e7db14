#!/bin/busybox sh
# shellcheck shell=dash
# The kernel's first process: finds the disk and goes on there.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for module in /modules/*; do
    insmod "$module" || echo "guest: no module $module"
done
mount -t ext4 /dev/vda /new || { echo "guest: no disk"; exit 1; }
umount /dev
exec switch_root /new /guest/init.sh
