# shellcheck shell=bash
# The broker's own certificate authority and what it signs. Sourced by `kafka`.

days=365

# openssl's own configuration differs from one system to the next, so none of it is used.
bare_config() { printf '[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n'; }

# P-256: a key takes milliseconds. genpkey writes PKCS#8, the only form Kafka's PEM stores read.
new_key() { (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"); }

new_ca() {
  new_key "$1/ca.key"
  openssl req -x509 -new -key "$1/ca.key" -config <(bare_config) -utf8 -subj /CN=tel-test-ca -days $days -out "$1/ca.pem"
}

# issue PKI NAME CN EXTENSIONS. Each file appears whole, so that a reader during a renewal never sees half of one.
issue() {
  local pki=$1 name=$2 cn=$3 tmp
  tmp=$(mktemp -d "$pki/.issue.XXXXXX")
  new_key "$tmp/key"
  openssl req -new -key "$tmp/key" -config <(bare_config) -utf8 -subj "/CN=$cn" -out "$tmp/csr"
  # A random serial number: the usual serial file would be shared by calls that run at once.
  openssl x509 -req -in "$tmp/csr" -CA "$pki/ca.pem" -CAkey "$pki/ca.key" -set_serial "0x1$(openssl rand -hex 15)" \
    -days $days -extfile <(printf '%b' "basicConstraints=CA:FALSE\n$4\n") -out "$tmp/crt" 2>"$tmp/log" || die "openssl: $(cat "$tmp/log")"
  mv "$tmp/key" "$pki/$name.key"
  mv "$tmp/crt" "$pki/$name.crt"
  rm -r "$tmp"
}

# Makes DIR/pki, whole or not at all.
make_pki() {
  [ ! -d "$dir/pki" ] || return 0
  rm -rf "$dir/pki.part"
  mkdir "$dir/pki.part"
  new_ca "$dir/pki.part"
  issue "$dir/pki.part" broker localhost 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1'
  (umask 077 && cat "$dir/pki.part/broker.key" "$dir/pki.part/broker.crt" "$dir/pki.part/ca.pem" >"$dir/pki.part/broker.pem")
  issue "$dir/pki.part" admin admin extendedKeyUsage=clientAuth
  mv -T "$dir/pki.part" "$dir/pki"
}

client_cert() {
  case $1 in '' | .* | ca | broker | *[!A-Za-z0-9._-]*) die "certificate name '$1': A-Z a-z 0-9 . _ - only, and neither ca nor broker" ;; esac
  # The rest is special in a distinguished name: Kafka's principal would be an escaped form of it.
  case $2 in '' | *[!A-Za-z0-9._:@-]*) die "subject '$2': A-Z a-z 0-9 . _ : @ - only" ;; esac
  issue "$dir/pki" "$1" "$2" extendedKeyUsage=clientAuth
}
