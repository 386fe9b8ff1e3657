#!/bin/sh
# The guest's whole start-up: network, instance data, ssh server; then init prints the banner.
# What nobody waits for (more modules, user-data) goes on in the background.
export PATH=/sbin:/bin:/usr/sbin:/usr/bin
say() { echo "guest: $*" > /dev/console; }
up() { read -r seconds _ < /proc/uptime; echo "$seconds"; }

mkdir -p /dev/pts /run /tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
echo 0 > /proc/sys/kernel/printk
hostname -F /etc/hostname
say "userland at $(up) s"

ip link set lo up
# host keys are made once and kept on the disk; only the kind that is cheap to make
key=/etc/dropbear/dropbear_ed25519_host_key
{ [ -s $key ] || { dropbearkey -t ed25519 -f $key.new >/dev/null 2>&1 && mv $key.new $key; }
  dropbear -s -r $key; } &
hostkey=$!

for card in /sys/class/net/eth*; do
    card=${card##*/}
    [ -e "/sys/class/net/$card" ] || continue
    ip link set "$card" up
    udhcpc -i "$card" -s /etc/udhcpc.script -x hostname:"$(hostname)" -t 10 -T 1 -b -S \
        -p "/run/udhcpc.$card.pid" >/dev/null 2>&1 &
done

(   # further hardware: the power button first, it is how a guest is stopped politely
    while read -r module; do insmod "/lib/modules/$module" 2>/dev/null; done < /lib/modules/order
    acpid -l /dev/null
) &

# a lease, for at most five seconds
tries=0
while [ ! -s /run/lease ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); usleep 50000; done
say "network at $(up) s: $(cat /run/lease 2>/dev/null || echo no lease)"

# instance data; the first answer is waited for no longer than six seconds
if timeout 6 /etc/instance-data first; then :
else (/etc/instance-data again) & fi

wait $hostkey
{   echo
    echo "snakestack guest, $(uname -sr)"
    echo "address $(cut -d' ' -f1 /run/lease 2>/dev/null || true), root logs in with the key pair"
    echo "(on this console also with the password 'snakestack')"
    echo
} > /etc/issue
say "ready at $(up) s"
[ -s /run/user-data ] && /etc/run-user-data &
exit 0
