# shellcheck shell=bash
# Tools, jars and compiled helpers. Sourced by `kafka`.

libs=${TEL_KAFKA_LIBS:-$(cd "$here/../.." && pwd -P)/target/kafka/libs}
sources=("$here/Admin.java" "$here/Probe.java")

# The folders' names carry the hash of what they are made from: a changed pom.xml or helper gets a new folder, and
# a broker that runs from the old one keeps its jars.
hash_of() { cat "$@" | sha256sum | cut -c1-12; }
jars=$libs/jars-$(hash_of "$here/pom.xml")
classes=$libs/classes-$(hash_of "$here/pom.xml" "${sources[@]}" "$here/install.sh")
archives=$libs/archives-$(hash_of "$here/pom.xml" "${sources[@]}" "$here/install.sh" "$here/broker.sh")

log4j=(-Dlog4j2.configurationFile="$here/log4j2.properties" -Dlog4j2.contextSelector=org.apache.logging.log4j.core.selector.BasicContextSelector)

# What a JVM loads, it takes from an archive that an earlier one has left (JEP 350), which halves the time until it is up. One
# whose JVM, jars or options are others by now is passed over. TEL_KAFKA_RECORD: the folder of archives that are being made.
class_archive() { # NAME
  if [ -n "${TEL_KAFKA_RECORD-}" ]; then
    printf '%s\n' "-XX:ArchiveClassesAtExit=$TEL_KAFKA_RECORD/$1.jsa"
  else
    printf '%s\n' "-XX:SharedArchiveFile=$archives/$1.jsa"
  fi
}

# Short-lived: what counts is how soon they are up, not how fast they get.
client_java=(java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto "$(class_archive client)"
  "${log4j[@]}" -Dtel.log=OFF -cp "$classes/*:$jars/*")

java_is_new() {
  local v
  v=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || return 1
  [ "${v:-0}" -ge 17 ]
}

# The packages that would bring what is missing, one a line; with `names`, the tools themselves.
missing() {
  { command -v java && command -v javac && command -v jar && java_is_new; } >/dev/null 2>&1 ||
    if [ "${1-}" = names ]; then echo "java, javac and jar (JDK 17 or later)"; else echo jdk; fi
  command -v mvn >/dev/null || if [ "${1-}" = names ]; then echo mvn; else echo maven; fi
  command -v openssl >/dev/null || echo openssl
}

install_tools() {
  local want
  want=$(missing)
  [ -n "$want" ] || return 0
  if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; then
    apt-get -qq update >&2 || say "apt-get update failed: going on with the package lists as they are"
    if [[ $want == *jdk* ]]; then
      local jdk=openjdk-17-jdk-headless
      # Later Debians carry only a later one.
      apt-cache show "$jdk" >/dev/null 2>&1 || jdk=default-jdk-headless
      want=${want/jdk/$jdk}
    fi
    say "installing" $want
    # shellcheck disable=SC2086  # one package a word
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $want >&2 ||
      say "apt-get could not install" $want
  fi
  want=$(missing names | paste -sd, | sed 's/,/, /g')
  [ -z "$want" ] || die "missing: $want (needs root on Debian to install it, or install it yourself)"
}

fill_jars() {
  command -v mvn >/dev/null || die "missing: mvn"
  # In the background, as bash puts a trap off until a foreground command is done.
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$1" </dev/null >&2 &
  wait $! || die "Maven could not download the Kafka jars"
}

fill_classes() {
  # In a jar, as an archive knows no classes of folders.
  javac -d "$1/classes" -cp "$jars/*" "${sources[@]}" || die "the Java helpers do not compile"
  jar --create --file "$1/helpers.jar" -C "$1/classes" .
  rm -r "$1/classes"
}

# Runs a broker once, from its first start to its end.
fill_archives() (
  broker=$1/broker
  end_children_on_exit
  # Whatever is left of it when this is interrupted.
  trap '[ ! -d "$broker" ] || "$here/kafka" kill "$broker"; end_children' EXIT
  export TEL_KAFKA_RECORD=$1
  "$here/kafka" start "$broker" >/dev/null &
  wait $! || die "the first broker did not start"
  "$here/kafka" stop "$broker"
  rm -r "$broker"
)

# Makes folder $2 with function $1, whole or not at all: an interrupted make leaves only a .part folder, which the
# next one, alone under the lock, throws away.
make_folder() {
  [ ! -d "$2" ] || return 0
  rm -rf "$libs"/*.part
  mkdir -p "$2.part"
  "$1" "$2.part"
  mv -T "$2.part" "$2"
}

# In a subshell: the lock is given back however it ends.
install_all() {
  if [ -d "$jars" ] && [ -d "$classes" ] && [ -d "${TEL_KAFKA_RECORD:-$archives}" ] && command -v java >/dev/null && command -v openssl >/dev/null; then
    return 0
  fi
  (
    end_children_on_exit
    mkdir -p "$libs"
    exec 9>"$libs/lock"
    flock 9
    install_tools
    make_folder fill_jars "$jars"
    make_folder fill_classes "$classes"
    make_folder fill_archives "$archives"
  ) &
  wait $!
}
