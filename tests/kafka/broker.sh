# shellcheck shell=bash
# The broker process: start, stop, signals. Sourced by `kafka`.

start_seconds=${TEL_KAFKA_START_SECONDS:-60}
# 10,000 topics after a kill -9: every one of them is read again.
restart_seconds=$((start_seconds * 3))
stop_seconds=20

env_value() { sed -n "s|^$1=||p" "$dir/env"; }

# Prints the pid of the broker that runs in $dir. The command line is compared, as a pid alone may be another
# process's by now; a zombie has none, so it counts as gone.
broker_pid() {
  local pid
  [ -f "$dir/pid" ] || return 1
  pid=$(<"$dir/pid")
  [ -r "/proc/$pid/cmdline" ] || return 1
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -Fxq -- "$dir/server.properties" || return 1
  printf '%s\n' "$pid"
}

now_ms() { printf '%s\n' $((${EPOCHREALTIME//[^0-9]/} / 1000)); }

# Prints a port nobody listens on, below those the kernel gives to outgoing connections: one of these could take
# the port while the broker is down, a client that keeps trying to reach it for one (it may connect to itself).
free_port() {
  local low port
  low=$(cut -f1 /proc/sys/net/ipv4/ip_local_port_range)
  if [ "$low" -lt 12000 ]; then low=32768; fi
  while :; do
    port=$((10000 + SRANDOM % (low - 10000)))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s\n' "$port"
}

write_properties() {
  local plain=$1 ssl=$2 controller=$3
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$plain,SSL://127.0.0.1:$ssl,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$plain,SSL://localhost:$ssl
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN=admin
ssl.client.auth=required
ssl.principal.mapping.rules=DEFAULT
ssl.keystore.type=PEM
ssl.keystore.location=$dir/pki/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/pki/ca.pem

auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=10485760
num.recovery.threads.per.data.dir=4
# Thousands of topics: the default maps 20 MB for each of them.
log.index.size.max.bytes=262144
P
}

# A cluster id is 16 bytes in URL-safe base64; a leading dash would read as an option.
new_cluster_id() { printf 'T%s\n' "$(openssl rand -base64 16 | tr '+/' '-_' | cut -c2-21)A"; }

format_data() {
  [ ! -f "$dir/data/meta.properties" ] || return 0
  java -Xmx256m -XX:TieredStopAtLevel=1 "$(class_archive format)" "${log4j[@]}" -Dtel.log=WARN -cp "$jars/*" kafka.tools.StorageTool \
    format --ignore-formatted -t "$(new_cluster_id)" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
    die "could not format $dir/data: $(tail -n 20 "$dir/format.log")"
}

# Becomes the broker. It keeps no file of the caller's open (a pipe it held would never end), and it stays in the
# caller's process group with default signals, so that a Ctrl-C or `timeout` that ends a test ends its broker too.
exec_broker() {
  local fd
  for fd in "/proc/$BASHPID/fd/"*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ]; then eval "exec $fd>&-"; fi
  done
  # Every partition keeps files open. Only root may go beyond the hard limit.
  ulimit -n 262144 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  cd "$dir"
  exec env --default-signal java "-Xmx${TEL_KAFKA_HEAP:-768m}" \
    "-XX:TieredStopAtLevel=${TEL_KAFKA_TIER:-4}" "$(class_archive broker)" "${log4j[@]}" -cp "$jars/*" kafka.Kafka "$dir/server.properties"
}

# launch PORT SECONDS: starts the broker ($broker) and a JVM that asks it until it answers. Fails as soon as the broker
# is gone.
launch() {
  local asker rc=0
  exec_broker </dev/null >>"$dir/log" 2>&1 &
  broker=$!
  printf '%s\n' "$broker" >"$dir/pid"
  "${client_java[@]}" Admin ready "127.0.0.1:$1" "$(sed -n 's/^cluster.id=//p' "$dir/data/meta.properties")" "$2" \
    </dev/null >/dev/null 2>>"$dir/log" &
  asker=$!
  while kill -0 "$asker" 2>/dev/null; do
    kill -0 "$broker" 2>/dev/null || { kill -KILL "$asker" 2>/dev/null || :; rc=1; break; }
    sleep 0.05
  done
  wait "$asker" 2>/dev/null || rc=1
  [ $rc = 0 ] && kill -0 "$broker" 2>/dev/null
}

write_env() {
  cat >"$dir/env.part" <<V
TEL_KAFKA_PLAINTEXT=127.0.0.1:$1
TEL_KAFKA_SSL=localhost:$2
TEL_KAFKA_PKI=$dir/pki
TEL_KAFKA_PID=$broker
V
  mv "$dir/env.part" "$dir/env"
  cat "$dir/env"
}

start_broker() {
  local try plain ssl controller mark seconds=$start_seconds
  exec 8>"$dir/lock"
  flock -n 8 || die "another start is at work in $dir"
  if broker_pid >/dev/null; then die "already running in $dir"; fi
  install_all
  make_pki
  for try in 1 2 3 4 5; do
    # Clients know the ports of a broker that once ran, so it must get them again.
    if [ -f "$dir/env" ]; then
      plain=$(env_value TEL_KAFKA_PLAINTEXT); plain=${plain##*:}
      ssl=$(env_value TEL_KAFKA_SSL); ssl=${ssl##*:}
      seconds=$restart_seconds
    else
      plain=$(free_port); ssl=$(free_port); controller=$(free_port)
      write_properties "$plain" "$ssl" "$controller"
    fi
    format_data
    mark=$(stat -c %s "$dir/log" 2>/dev/null || echo 0)
    if launch "$plain" "$seconds"; then
      write_env "$plain" "$ssl"
      # From here on the broker outlives this shell.
      trap - EXIT
      return 0
    fi
    end_children
    rm -f "$dir/pid"
    [ ! -f "$dir/env" ] || break
    tail -c +$((mark + 1)) "$dir/log" | grep -Eq 'BindException|Address already in use|failed to bind' || break
    say "a port was taken meanwhile; try $((try + 1))"
  done
  say "the broker in $dir did not start; its errors, then the end of its log ($dir/log):"
  # An orderly shutdown can bury the error that caused it.
  tail -c +$((mark + 1)) "$dir/log" | grep -E ' (ERROR|FATAL) |Exception' | head -n 10 >&2 || :
  printf '...\n' >&2
  tail -c +$((mark + 1)) "$dir/log" | tail -n 30 >&2
  exit 1
}

# Waits until the broker is gone: 0 if it is within $1 seconds.
wait_gone() {
  local end=$(($(now_ms) + $1 * 1000))
  while broker_pid >/dev/null; do
    [ "$(now_ms)" -lt $end ] || return 1
    sleep 0.05
  done
  rm -f "$dir/pid"
}

stop_broker() {
  local pid
  pid=$(broker_pid) || return 0
  kill -TERM "$pid" 2>/dev/null || :
  # A paused broker gets the signal only when it runs again.
  kill -CONT "$pid" 2>/dev/null || :
  wait_gone $stop_seconds || kill_broker
}

kill_broker() {
  local pid
  pid=$(broker_pid) || return 0
  kill -KILL "$pid" 2>/dev/null || :
  wait_gone 10 || die "process $pid does not end"
}

# signal_broker SIGNAL STATE: returns once the process's state (proc(5)) matches STATE.
signal_broker() {
  local pid state end
  pid=$(broker_pid) || die "no broker runs in $dir"
  kill "-$1" "$pid"
  end=$(($(now_ms) + 5000))
  while :; do
    state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status")
    # shellcheck disable=SC2053  # a pattern
    [[ $state == $2 ]] && return 0
    [ "$(now_ms)" -lt $end ] || die "process $pid stays in state $state after SIG$1"
    sleep 0.02
  done
}
