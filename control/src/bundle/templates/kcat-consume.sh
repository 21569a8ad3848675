#!/bin/sh
# Prints the log lines of @ID@ with kcat (Debian: apt install kcat), beginning with the oldest that is kept.
# Use: kcat/consume [GROUP]     GROUP must begin with "@ID@:"
cd "$(dirname "$0")/.." || exit
group=${1:-@ID@:kcat}

child=
trap 'kill "$child" 2>/dev/null; wait "$child"; exit 0' INT TERM

# The rights of a new credential reach all brokers within seconds: until then a refusal is tried again.
tries=0
while [ "$tries" -lt 20 ]; do
  kcat -q -u -F kcat/kcat.conf -G "$group" @TOPIC@ &
  child=$!
  wait "$child" && exit 0
  tries=$((tries + 1))
  sleep 1
done
echo "kcat ended $tries times; ./check says what is wrong" >&2
exit 77
