//! The certificate authority, judged by others: the openssl command, Java's keytool, and a TLS connection.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tel_control::ca::{Authority, IssuedCredential, Protection};
use tel_control::error::Kind;
use tel_control::names::{ClientId, EdgeName};

const DAYS: u32 = 365;

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ca-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes the credential as NAME.pem and NAME.key.
    fn store(&self, name: &str, credential: &IssuedCredential) {
        self.write(&format!("{name}.pem"), &credential.certificate_pem);
        self.write(&format!("{name}.key"), credential.key_pem.as_ref().expect("a key").bytes());
    }

    /// Runs a program here.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = Command::new(program).args(arguments).current_dir(&self.0).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
    }

    /// Runs openssl here, which must succeed; its output.
    fn openssl(&self, arguments: &str) -> String {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = self.run("openssl", &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Makes a request NAME.csr with a new key NAME.key.
    fn request(&self, name: &str, key: &str, rest: &str) -> Vec<u8> {
        self.openssl(&format!("genpkey -out {name}.key {key}"));
        let output = self.run("sh", &["-c", &format!("openssl req -new -key {name}.key -out {name}.csr {rest}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(self.file(&format!("{name}.csr"))).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

fn authority(folder: &Folder) -> Authority {
    let authority = Authority::generate("tel clients").unwrap();
    folder.write("ca.pem", authority.certificate_pem().unwrap());
    authority
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// What openssl says must be in every certificate of a client, and nothing else.
fn assert_plain(folder: &Folder, name: &str, subject: &str) {
    let text = folder.openssl(&format!("x509 -in {name}.pem -noout -text -nameopt RFC2253"));
    assert!(text.lines().any(|line| line.trim() == format!("Subject: CN={subject}")), "{text}");
    let extensions: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("X509v3 extensions"))
        .map(str::trim)
        .filter(|line| line.starts_with("X509v3 ") && !line.starts_with("X509v3 extensions"))
        .collect();
    assert_eq!(
        extensions,
        [
            "X509v3 Basic Constraints: critical",
            "X509v3 Key Usage: critical",
            "X509v3 Extended Key Usage:",
            "X509v3 Subject Key Identifier:",
            "X509v3 Authority Key Identifier:"
        ],
        "{text}"
    );
    for line in ["CA:FALSE", "Digital Signature", "TLS Web Client Authentication"] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}: {text}");
    }
    folder.openssl(&format!("verify -x509_strict -CAfile ca.pem -purpose sslclient {name}.pem"));
    let server =
        folder.run("openssl", &["verify", "-CAfile", "ca.pem", "-purpose", "sslserver", &format!("{name}.pem")]);
    assert!(!server.status.success(), "it would pass for a broker");
}

#[test]
fn a_client_s_certificate_is_a_client_s_and_no_more() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let text = folder.openssl("x509 -in ca.pem -noout -text -nameopt RFC2253");
    for line in ["Subject: CN=tel clients", "CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "ASN1 OID: prime256v1"]
    {
        assert!(text.lines().any(|found| found.trim() == line), "{line}: {text}");
    }

    let credential = authority.client(&id("c83"), 7, DAYS).unwrap();
    folder.store("client", &credential);
    assert_plain(&folder, "client", "c83:7");
    let longest = "x".repeat(48);
    folder.store("longest", &authority.client(&id(&longest), u32::MAX, DAYS).unwrap());
    assert_plain(&folder, "longest", &format!("{longest}:4294967295"));
    folder.store("edge", &authority.edge(&EdgeName::new("one").unwrap(), DAYS).unwrap());
    assert_plain(&folder, "edge", "edge:one");

    let shown = folder.openssl("x509 -in client.pem -noout -serial -fingerprint -sha256 -enddate");
    let plain = shown.replace(':', "").to_lowercase();
    assert!(plain.contains(&format!("fingerprint={}", credential.fingerprint_sha256)), "{shown}");
    assert!(plain.contains(&format!("serial={}", credential.serial)), "{shown} {}", credential.serial);
    let days = (credential.not_after - time::OffsetDateTime::now_utc()).whole_days();
    assert!((364..=365).contains(&days), "{days}");
    let other = authority.client(&id("c83"), 7, DAYS).unwrap();
    assert!(other.serial != credential.serial && credential.serial.len() >= 24);

    assert_eq!(authority.client(&id("c83"), 0, 1).unwrap_err().kind, Kind::Invalid);
    assert_eq!(authority.client(&id("c83"), 1, 0).unwrap_err().kind, Kind::Invalid);
}

#[test]
fn debug_and_errors_show_no_key() {
    let folder = Folder::new();
    let credential = authority(&folder).client(&id("c83"), 1, 1).unwrap();
    let key = credential.key_pem.clone().unwrap();
    let store = credential.key_store().unwrap();
    let shown = format!("{credential:?} {store:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains(key.text().lines().nth(1).unwrap()), "{shown}");
    assert!(!shown.contains(store.password.text()), "{shown}");
}

#[test]
fn stored_encrypted_and_opened_again() {
    let folder = Folder::new();
    let dir = folder.file("new/ca");
    let made = Authority::create(&dir, "tel", Protection::Passphrase(b"correct horse")).unwrap();
    let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("ca.crt"), mode("ca.key"), mode("")), (0o644, 0o600, 0o700));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
    let pem = std::fs::read_to_string(dir.join("ca.key")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    folder.write("passphrase", "correct horse");
    folder.openssl("pkey -in new/ca/ca.key -passin file:passphrase -noout");

    let opened = Authority::open(&dir, Some(b"correct horse")).unwrap();
    assert_eq!(opened.certificate_pem().unwrap(), made.certificate_pem().unwrap());
    for (passphrase, why) in [(None, "no passphrase"), (Some(&b"wrong horse"[..]), "cannot be decrypted")] {
        let error = Authority::open(&dir, passphrase).unwrap_err();
        assert!(error.text.contains("ca.key") && error.text.contains(why) && !error.text.contains("horse"), "{error}");
    }
    let again = Authority::create(&dir, "tel", Protection::Plain).unwrap_err();
    assert_eq!(again.kind, Kind::Conflict);

    std::fs::set_permissions(dir.join("ca.key"), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(Authority::open(&dir, Some(b"correct horse")).unwrap_err().text.contains("mode 640"));
    assert_eq!(Authority::open(&folder.file("none"), None).unwrap_err().kind, Kind::NotFound);
    let short = Authority::create(&folder.file("short"), "tel", Protection::Passphrase(b"short")).unwrap_err();
    assert_eq!(short.kind, Kind::Invalid);
    let unnamed = Authority::create(&folder.file("unnamed"), "", Protection::Plain).unwrap_err();
    assert_eq!(unnamed.kind, Kind::Invalid);
    assert!(!folder.file("short").exists() && !folder.file("unnamed").exists());
}

#[test]
fn an_interrupted_creation_is_begun_anew_and_a_foreign_key_is_kept() {
    let folder = Folder::new();
    let dir = folder.file("ca");
    Authority::create(&dir, "tel", Protection::Plain).unwrap();
    // As after a kill between the two names.
    std::fs::rename(dir.join("ca.crt"), dir.join("ca.crt.part")).unwrap();
    Authority::create(&dir, "tel", Protection::Plain).unwrap();
    let opened = Authority::open(&dir, None).unwrap();
    opened.client(&id("c83"), 1, 1).unwrap();

    std::fs::remove_file(dir.join("ca.crt")).unwrap();
    let key = std::fs::read(dir.join("ca.key")).unwrap();
    assert_eq!(Authority::create(&dir, "tel", Protection::Plain).unwrap_err().kind, Kind::Conflict);
    assert_eq!(std::fs::read(dir.join("ca.key")).unwrap(), key);
}

#[test]
fn authorities_from_elsewhere() {
    let folder = Folder::new();
    let make = |name: &str, key: &str, days: u32, extensions: &str| {
        folder.openssl(&format!("genpkey -out {name}.key {key}"));
        let script = format!(
            "printf '[req]\\ndistinguished_name=dn\\n[dn]\\n[e]\\n{extensions}\\n' >{name}.cnf &&
             openssl req -x509 -new -key {name}.key -subj /O=Operator/CN=own -days {days} -config {name}.cnf -extensions e -out {name}.pem"
        );
        let output = folder.run("sh", &["-c", &script]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Authority::from_files(&folder.file(&format!("{name}.pem")), &folder.file(&format!("{name}.key")), None)
    };
    let ca = "basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\nsubjectKeyIdentifier=hash";
    for (name, key) in [
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "-algorithm ED25519"),
    ] {
        let authority = make(name, key, 5, ca).unwrap();
        let credential = authority.client(&id("c83"), 1, DAYS).unwrap();
        folder.store("client", &credential);
        folder.openssl(&format!("verify -CAfile {name}.pem -purpose sslclient client.pem"));
        // Never beyond the authority's own end.
        assert_eq!(credential.not_after.unix_timestamp(), authority.not_after().unwrap());
    }
    let no_ca = make("leaf", P256, 5, "basicConstraints=CA:FALSE").unwrap_err();
    let servers = make("servers", P256, 5, &format!("{ca}\\nextendedKeyUsage=serverAuth")).unwrap_err();
    for error in [no_ca, servers] {
        assert!(error.kind == Kind::Invalid && error.text.contains("would refuse"), "{error}");
    }
    let other = Authority::from_files(&folder.file("rsa.pem"), &folder.file("p384.key"), None).unwrap_err();
    assert!(other.text.contains("not its certificate's"), "{other}");
    folder.write("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    for (certificate, key) in [("garbage", "rsa.key"), ("rsa.pem", "garbage"), ("rsa.pem", "rsa.pem")] {
        let error = Authority::from_files(&folder.file(certificate), &folder.file(key), None).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "{error}");
    }
}

#[test]
fn of_a_request_the_key_alone_is_taken() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let greedy = "-subj /O=Bank/CN=admin -addext basicConstraints=critical,CA:TRUE \
                  -addext subjectAltName=DNS:broker.example.com -addext extendedKeyUsage=serverAuth -addext keyUsage=keyCertSign";
    for (name, key) in [
        ("p256", P256),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("explicit", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit"),
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("ed25519", "-algorithm ED25519"),
    ] {
        let request = folder.request(name, key, greedy);
        let credential = authority.client_for(&id("c83"), 2, DAYS, &request).unwrap();
        assert!(credential.key_pem.is_none());
        assert_eq!(credential.key_store().unwrap_err().kind, Kind::Invalid);
        folder.write("client.pem", &credential.certificate_pem);
        assert_plain(&folder, "client", "c83:2");
        if name != "explicit" {
            let wanted = folder.openssl(&format!("pkey -in {name}.key -pubout"));
            assert_eq!(folder.openssl("x509 -in client.pem -noout -pubkey"), wanted);
        }
        let text = folder.openssl("x509 -in client.pem -noout -text");
        assert!(!text.contains("Bank") && !text.contains("broker.example.com"), "{text}");
    }
    let request = std::fs::read(folder.file("p256.csr")).unwrap();
    let edge = authority.edge_for(&EdgeName::new("one").unwrap(), 30, &request).unwrap();
    folder.write("edge.pem", &edge.certificate_pem);
    assert_plain(&folder, "edge", "edge:one");
}

#[test]
fn bad_requests_are_refused_by_name() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let refused = |request: &[u8], why: &str| {
        let error = authority.client_for(&id("c83"), 1, 1, request).unwrap_err();
        assert!(error.kind == Kind::Invalid && error.text.contains(why) && error.text.len() < 300, "{why}: {error}");
    };
    let weak = "-subj /CN=x";
    refused(&folder.request("rsa1024", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", weak), "2048");
    refused(
        &folder.request("e3", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3", weak),
        "exponent",
    );
    refused(&folder.request("k1", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", weak), "P-256");
    refused(&folder.request("p224", "-algorithm EC -pkeyopt ec_paramgen_curve:P-224", weak), "P-256");
    refused(&folder.request("ed448", "-algorithm ED448", weak), "Ed25519");

    let good = folder.request("good", P256, "-subj /CN=x -outform DER");
    // One bit of the public key, of the name and of the signature each.
    let at = good.windows(3).position(|bytes| bytes == [0x55, 0x04, 0x03]).unwrap();
    for position in [at + 5, good.len() / 2, good.len() - 1] {
        let mut tampered = good.clone();
        tampered[position] ^= 1;
        folder.write("tampered.der", &tampered);
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}-----END CERTIFICATE REQUEST-----\n",
            folder.openssl("base64 -in tampered.der")
        );
        let error = authority.client_for(&id("c83"), 1, 1, pem.as_bytes()).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "{error}");
    }
    let signature = {
        let mut tampered = good.clone();
        tampered[at + 5] ^= 1;
        folder.write("tampered.der", &tampered);
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}-----END CERTIFICATE REQUEST-----\n",
            folder.openssl("base64 -in tampered.der")
        )
    };
    refused(signature.as_bytes(), "not signed by its own key");

    let pem = folder.openssl("req -inform DER -in good.csr");
    authority.client_for(&id("c83"), 1, 1, pem.as_bytes()).unwrap();
    let started = std::time::Instant::now();
    refused(&vec![b'A'; 10 * 1024 * 1024], "more than 16384");
    refused(format!("{pem}{}", " ".repeat(10 * 1024 * 1024)).as_bytes(), "more than 16384");
    assert!(started.elapsed().as_secs() < 5);
    refused(b"", "not one PEM block");
    refused(b"\xff\xfe", "not PEM text");
    refused(&good, "not ");
    refused(format!("{pem}{pem}").as_bytes(), "not one PEM block");
    refused(authority.certificate_pem().unwrap().as_bytes(), "not one PEM block");
    refused(&std::fs::read(folder.file("good.key")).unwrap(), "holds a private key");
    refused(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "malformed");

    let dir = folder.file("own");
    let own = Authority::create(&dir, "tel", Protection::Plain).unwrap();
    folder.openssl("req -new -key own/ca.key -subj /CN=x -out own.csr");
    let error = own.client_for(&id("c83"), 1, 1, &std::fs::read(folder.file("own.csr")).unwrap()).unwrap_err();
    assert!(error.text.contains("the authority's own key"), "{error}");
}

#[test]
fn the_key_store_is_read_by_openssl_and_java() {
    let folder = Folder::new();
    let credential = authority(&folder).client(&id("c83"), 1, DAYS).unwrap();
    let store = credential.key_store().unwrap();
    folder.write("client.p12", store.pkcs12.bytes());
    folder.write("password", store.password.bytes());
    assert_ne!(store.password.bytes(), credential.key_store().unwrap().password.bytes());

    let key = folder.openssl("pkcs12 -in client.p12 -passin file:password -nocerts -noenc");
    let pem = credential.key_pem.as_ref().unwrap().text();
    assert!(key.contains(pem.trim_end()), "the key is another");
    let certificates = folder.openssl("pkcs12 -in client.p12 -passin file:password -nokeys");
    assert!(
        certificates.contains(credential.certificate_pem.trim_end())
            && certificates.contains(credential.ca_pem.trim_end())
    );
    let wrong = folder.run("openssl", &["pkcs12", "-in", "client.p12", "-passin", "pass:wrong", "-noout"]);
    assert!(!wrong.status.success());

    let listed = folder.run("keytool", &["-list", "-v", "-keystore", "client.p12", "-storepass:file", "password"]);
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success() && text.contains("PrivateKeyEntry") && text.contains("Owner: CN=c83:1"), "{text}");
}

#[test]
fn mutual_tls_takes_its_certificates_and_no_others() {
    let folder = Folder::new();
    let authority = authority(&folder);
    folder.store("client", &authority.client(&id("c83"), 1, 1).unwrap());
    folder.store("stranger", &Authority::generate("tel clients").unwrap().client(&id("c83"), 1, 1).unwrap());
    // The server's certificate is of another authority, as the brokers' are.
    let server =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout server.key -out server.pem \
                  -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    assert!(folder.run("sh", &["-c", server]).status.success());
    let mut server = Command::new("openssl")
        .args("s_server -accept 127.0.0.1:0 -key server.key -cert server.pem -CAfile ca.pem -Verify 2 -verify_return_error -rev".split(' '))
        .current_dir(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    // Open until the end: the server writes to it.
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let accept = output.find(|line| line.starts_with("ACCEPT")).expect("where the server listens");
    let port = accept.rsplit(':').next().unwrap().to_owned();

    let echoed = |arguments: &str| {
        let mut client = Command::new("openssl")
            .args(format!("s_client -connect 127.0.0.1:{port} -servername localhost -CAfile server.pem -verify_return_error -quiet").split(' '))
            .args(arguments.split_whitespace())
            .current_dir(&folder.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let mut stdin = client.stdin.take().unwrap();
        let _ = stdin.write_all(b"olleh\n");
        let mut line = String::new();
        let _ = BufReader::new(client.stdout.take().unwrap()).read_line(&mut line);
        drop(stdin);
        let _ = client.kill();
        let _ = client.wait();
        line
    };
    let answers = [
        echoed("-cert client.pem -key client.key"),
        echoed("-cert stranger.pem -key stranger.key"),
        echoed(""),
        echoed("-cert client.pem -key client.key"),
    ];
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(answers, ["hello\n", "", "", "hello\n"]);
}
