//! Credentials, bundles, tokens and edges: what is handed out, and that it is nowhere else.

use crate::app::{Control, Folder};
use axum::http::Method;
use openssl::x509::X509;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

async fn with_client() -> Control {
    let control = Control::new().await;
    control.ask(Method::POST, "/api/v1/clients", Some(json!({"id": "c83"}))).await.is(201);
    control
}

fn text_of(certificate: &Value) -> String {
    let certificate = X509::from_pem(certificate.as_str().unwrap().as_bytes()).unwrap();
    String::from_utf8(certificate.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_credential_is_handed_out_once_and_kept_nowhere() {
    let control = with_client().await;
    let made = control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json();
    assert_eq!((&made["generation"], &made["common_name"]), (&json!(1), &json!("c83:1")));
    assert_eq!((&made["topic"], &made["group_prefix"]), (&json!("logs.c83"), &json!("c83:")));
    assert_eq!(made["bootstrap"], "kafka.example.com:9093");
    let certificate = X509::from_pem(made["certificate_pem"].as_str().unwrap().as_bytes()).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(made["key_pem"].as_str().unwrap().as_bytes()).unwrap();
    assert!(certificate.public_key().unwrap().public_eq(&key));
    let ca = X509::from_pem(made["ca_pem"].as_str().unwrap().as_bytes()).unwrap();
    assert!(certificate.verify(&ca.public_key().unwrap()).unwrap());
    assert_ne!(made["brokers_ca_pem"], made["ca_pem"]);

    let list = control.ask(Method::GET, "/api/v1/clients/c83/credentials", None).await.is(200);
    assert!(!list.text().contains("PRIVATE"));
    let list = list.json();
    assert_eq!(list["credentials"][0]["fingerprint_sha256"], made["fingerprint_sha256"]);
    assert_eq!((&list["credentials"][0]["state"], &list["credentials"][0]["live"]), (&json!("issued"), &json!(true)));

    let bundle = control.ask(Method::POST, "/api/v1/clients/c83/bundle.zip", None).await.is(200);
    assert_eq!(bundle.header("content-type"), "application/zip");
    assert_eq!(bundle.header("content-disposition"), "attachment; filename=\"tel-c83.zip\"");
    assert_eq!(bundle.header("tel-generation"), "2");
    let token =
        control.ask(Method::POST, "/api/v1/tokens", Some(json!({"label": "x", "client": "c83"}))).await.is(201).json();
    let edge = control.ask(Method::POST, "/api/v1/edges", Some(json!({"name": "edge-1"}))).await.is(201).json();
    assert_eq!(edge["common_name"], "edge:edge-1");

    // Neither a token nor any line of a key is in the database.
    let dump = control.dump();
    let secrets = [made["key_pem"].as_str().unwrap(), edge["key_pem"].as_str().unwrap(), &control.operator];
    let lines = secrets.iter().flat_map(|secret| secret.lines()).filter(|line| !line.starts_with("-----"));
    for secret in lines.chain([token["secret"].as_str().unwrap(), "PRIVATE KEY"]) {
        assert!(!dump.contains(secret), "{secret}");
    }
    assert!(dump.contains(made["fingerprint_sha256"].as_str().unwrap()), "the dump is the database");
}

#[tokio::test]
async fn of_a_request_the_public_key_alone_is_taken() {
    let control = with_client().await;
    let folder = Folder::new();
    let config = "[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\nbasicConstraints=critical,CA:TRUE\n\
                  keyUsage=keyCertSign,cRLSign\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:kafka.example.com,IP:127.0.0.1\n";
    std::fs::write(folder.0.join("req.cnf"), config).unwrap();
    let made = Command::new("openssl")
        .args(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out req.pem -config req.cnf"
                .split(' '),
        )
        .args(["-subj", "/CN=admin/O=else/OU=edge:edge-1"])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let csr = std::fs::read_to_string(folder.0.join("req.pem")).unwrap();

    let credential =
        control.ask(Method::POST, "/api/v1/clients/c83/credentials", Some(json!({"csr": csr}))).await.is(201).json();
    let edge = control.ask(Method::POST, "/api/v1/edges", Some(json!({"name": "e1", "csr": csr}))).await.is(201).json();
    for (made, subject) in [(&credential, "CN = c83:1"), (&edge, "CN = edge:e1")] {
        assert!(made.get("key_pem").is_none());
        let text = text_of(&made["certificate_pem"]);
        let given = text.lines().find_map(|line| line.trim().strip_prefix("Subject:")).unwrap();
        assert_eq!(given.trim().replace(" = ", "="), subject.replace(" = ", "="));
        assert!(!text.contains("CA:TRUE") && !text.contains("DNS:") && !text.contains("IP Address"), "{text}");
        assert!(text.contains("TLS Web Client Authentication") && !text.contains("Server Authentication"), "{text}");
        assert!(!text.contains("Certificate Sign"), "{text}");
    }
    let bundle = control.ask(Method::POST, "/api/v1/clients/c83/bundle.zip", Some(json!({"csr": csr}))).await.is(200);
    assert_eq!(bundle.header("tel-generation"), "2");

    let key = std::fs::read_to_string(folder.0.join("key.pem")).unwrap();
    for bad in
        ["", "x", &csr.replace("A", "B"), &csr.replace(" REQUEST", ""), &format!("{csr}{key}"), &"x".repeat(20_000)]
    {
        for path in ["/api/v1/clients/c83/credentials", "/api/v1/clients/c83/bundle.zip"] {
            let answer = control.ask(Method::POST, path, Some(json!({"csr": bad}))).await.is(422);
            assert!(answer.detail().starts_with("certificate request: "), "{}", answer.detail());
        }
    }
    let list = control.ask(Method::GET, "/api/v1/clients/c83/credentials", None).await.is(200).json();
    assert_eq!(list["credentials"].as_array().unwrap().len(), 2, "a bad request takes no number");
}

#[tokio::test]
async fn at_most_five_are_live_and_a_revoked_one_makes_room() {
    let control = with_client().await;
    for generation in 1..=5 {
        let made = control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(201).json();
        assert_eq!(made["generation"], generation);
    }
    control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(409);
    control.ask(Method::POST, "/api/v1/clients/c83/bundle.zip", None).await.is(409);
    for _ in 0..2 {
        let revoked = control.ask(Method::DELETE, "/api/v1/clients/c83/credentials/3", None).await.is(200).json();
        assert_eq!((&revoked["generation"], &revoked["state"]), (&json!(3), &json!("revoked")));
    }
    let made = control.ask(Method::POST, "/api/v1/clients/c83/credentials", None).await.is(201).json();
    assert_eq!(made["generation"], 6);
    for (bad, status) in [("7", 404), ("0", 404), ("x", 400), ("-1", 400), ("4294967296", 400)] {
        control.ask(Method::DELETE, &format!("/api/v1/clients/c83/credentials/{bad}"), None).await.is(status);
    }
    control.ask(Method::GET, "/api/v1/clients/nobody/credentials", None).await.is(404);
}

#[tokio::test]
async fn the_zip_without_a_key_has_the_same_files() {
    const SECRET: [&str; 3] = ["certs/client.key", "certs/client.p12", "certs/client.p12.password"];
    const CERTIFICATE: &str = "certs/client.pem";
    let control = with_client().await;
    let files = |bytes: &[u8]| -> BTreeMap<String, Vec<u8>> {
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes.to_vec())).unwrap();
        let mut files = BTreeMap::new();
        for place in 0..zip.len() {
            let mut file = zip.by_index(place).unwrap();
            let name = file.name().strip_prefix("tel-c83/").expect("one folder").to_owned();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            files.insert(name, bytes);
        }
        files
    };
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    let without = |files: &BTreeMap<String, Vec<u8>>, left_out: &[&str]| {
        assert!(left_out.iter().all(|name| files.contains_key(*name)), "{:?}", names(files));
        files.keys().filter(|name| !left_out.contains(&name.as_str())).cloned().collect::<Vec<_>>()
    };
    let is_secret = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains("BEGIN PRIVATE KEY");
    let certificate_row = |files: &BTreeMap<String, Vec<u8>>| {
        let readme = String::from_utf8(files["README.md"].clone()).unwrap();
        readme.lines().find(|line| line.starts_with("| Certificate |")).unwrap().to_owned()
    };

    let before = control.ask(Method::GET, "/api/v1/clients/c83/bundle.zip", None).await.is(200);
    assert_eq!(before.header("tel-generation"), "0");
    let mut minted = Vec::new();
    for generation in ["1", "2"] {
        let answer = control.ask(Method::POST, "/api/v1/clients/c83/bundle.zip", None).await.is(200);
        assert_eq!(answer.header("tel-generation"), generation);
        minted.push(files(&answer.body));
    }
    assert!(minted.iter().all(|files| files.values().any(is_secret)));
    let [no_key, no_certificate] =
        [&SECRET[..], &[&SECRET[..], &[CERTIFICATE]].concat()].map(|left_out| without(&minted[0], left_out));
    assert_eq!(names(&files(&before.body)), no_certificate);

    // The latest that works; when that is revoked, the one before.
    for (generation, with) in [("2", &minted[1]), ("1", &minted[0])] {
        let shown = control.ask(Method::GET, "/api/v1/clients/c83/bundle.zip", None).await.is(200);
        assert_eq!(shown.header("tel-generation"), generation);
        let shown = files(&shown.body);
        assert_eq!(names(&shown), no_key);
        assert!(!shown.values().any(is_secret));
        assert_eq!(shown[CERTIFICATE], with[CERTIFICATE]);
        assert_eq!(certificate_row(&shown), certificate_row(with));
        let path = format!("/api/v1/clients/c83/credentials/{generation}");
        control.ask(Method::DELETE, &path, None).await.is(200);
    }
    let after = control.ask(Method::GET, "/api/v1/clients/c83/bundle.zip", None).await.is(200);
    assert_eq!((after.header("tel-generation"), names(&files(&after.body))), ("0", no_certificate));
}

#[tokio::test]
async fn tokens_are_made_used_listed_and_revoked() {
    let control = with_client().await;
    let body = json!({"label": "panel", "client": "c83", "expires_in_days": 30});
    let made = control.ask(Method::POST, "/api/v1/tokens", Some(body)).await.is(201).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    control.ask_as(secret, Method::GET, "/api/v1/clients/c83", None).await.is(200);
    let list = control.ask(Method::GET, "/api/v1/tokens", None).await.is(200);
    assert!(!list.text().contains(secret));
    let list = list.json();
    let view = list["tokens"].as_array().unwrap().iter().find(|token| token["id"] == id).unwrap();
    assert_eq!((&view["client"], &view["live"], &view["label"]), (&json!("c83"), &json!(true), &json!("panel")));
    assert!(view["last_used_at"].is_string() && view["expires_at"].is_string());
    let revoked = control.ask(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await.is(200).json();
    assert_eq!(revoked["live"], false);
    control.ask_as(secret, Method::GET, "/api/v1/clients/c83", None).await.is(401);
    control.ask(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await.is(200);
    control.ask(Method::DELETE, "/api/v1/tokens/0000000000000000", None).await.is(404);
    control.ask(Method::DELETE, "/api/v1/tokens/nonsense", None).await.is(400);
    for bad in [
        json!({"label": ""}),
        json!({"label": "a\nb"}),
        json!({"label": "x".repeat(101)}),
        json!({"label": "x", "client": "a:b"}),
        json!({"label": "x", "expires_in_days": 0}),
        json!({"label": "x", "expires_in_days": 3651}),
        json!({"label": "x", "expires_in_days": -1}),
    ] {
        control.ask(Method::POST, "/api/v1/tokens", Some(bad)).await.is(422);
    }
}
