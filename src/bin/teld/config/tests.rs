use super::*;
use crate::client::ClientRule;
use crate::inputs::{unix, Source, WhenFull};

const PRODUCER: &str = r#""producer": {"embedded_broker": true}"#;

fn parse(rest: &str) -> Result<Config, String> {
    Config::parse(&format!("{{{PRODUCER}, {rest}}}"), Path::new("/etc/tel/teld.json"))
}

fn input(keys: &str) -> Result<Input, String> {
    parse(&format!(r#""inputs": {{"a": {keys}}}"#)).map(|config| config.inputs[0].clone())
}

#[test]
fn inputs_are_read() {
    let config = parse(
        r#""inputs": {
            "cdn": {"type": "exec", "command": ["varnishncsa", "-F", "x"]},
            "media": {"type": "fifo", "path": "/run/teld/media.fifo", "mode": "0620", "owner": "root:root"},
            "app": {"type": "unix", "path": "/run/teld/app.sock", "socket": "datagram", "header": "syslog"},
            "old": {"type": "file", "path": "/var/log/a", "client": {"word": 3}},
            "new": {"type": "file", "path": "/var/log/b", "follow": true, "when_full": "drop"},
            "in": {"type": "stdin", "client": {"json": "/cdn/client"}}
        }, "metrics": {"listen": "127.0.0.1:9470"}"#,
    )
    .unwrap();
    let find = |name: &str| config.inputs.iter().find(|input| input.name == name).unwrap();
    assert!(matches!(&find("cdn").source, Source::Exec { command } if command.len() == 3));
    assert!(matches!(&find("media").source, Source::Fifo { place } if place.mode == 0o620 && place.group == Some(0)));
    let app = find("app");
    assert!(matches!(&app.source, Source::Unix { kind: unix::Kind::Datagram, place } if place.mode == 0o660));
    assert!(app.reading.syslog && app.reading.when_full == WhenFull::Drop);
    assert_eq!((&find("old").reading.client, find("old").reading.when_full), (&ClientRule::Word(3), WhenFull::Wait));
    assert!(matches!(&find("new").source, Source::FollowedFile { from_end: false, .. }));
    assert_eq!(find("new").reading.when_full, WhenFull::Drop);
    assert_eq!(find("in").reading.client, ClientRule::Json(vec!["cdn".into(), "client".into()]));
    assert_eq!(config.metrics, Some(Metrics { listen: "127.0.0.1:9470".parse().unwrap(), most_clients: 1000 }));
    assert_eq!((config.max_line, config.drain), (16384, Duration::from_secs(10)));
}

#[test]
fn every_error_names_its_key() {
    for (keys, named) in [
        (r#"{}"#, "inputs.a.type"),
        (r#"[]"#, "inputs.a"),
        (r#"{"type": "wire"}"#, "inputs.a.type"),
        (r#"{"type": 7}"#, "inputs.a.type"),
        (r#"{"type": "stdin", "x": 1}"#, "inputs.a.x"),
        (r#"{"type": "stdin", "type": "file"}"#, "inputs.a.type"),
        (r#"{"type": "stdin", "path": "/a"}"#, "inputs.a.path"),
        (r#"{"type": "file"}"#, "inputs.a.path"),
        (r#"{"type": "file", "path": ""}"#, "inputs.a.path"),
        (r#"{"type": "file", "path": "/a", "position": "/b"}"#, "inputs.a.position"),
        (r#"{"type": "file", "path": "/a", "follow": "yes"}"#, "inputs.a.follow"),
        (r#"{"type": "file", "path": "/a", "follow": true, "from": "middle"}"#, "inputs.a.from"),
        (r#"{"type": "exec"}"#, "inputs.a.command"),
        (r#"{"type": "exec", "command": "varnishncsa"}"#, "inputs.a.command"),
        (r#"{"type": "exec", "command": []}"#, "inputs.a.command"),
        (r#"{"type": "exec", "command": [""]}"#, "inputs.a.command"),
        (r#"{"type": "exec", "command": ["a", 1]}"#, "inputs.a.command"),
        (r#"{"type": "fifo"}"#, "inputs.a.path"),
        (r#"{"type": "fifo", "path": "/a", "mode": 660}"#, "inputs.a.mode"),
        (r#"{"type": "fifo", "path": "/a", "mode": "0999"}"#, "inputs.a.mode"),
        (r#"{"type": "fifo", "path": "/a", "owner": "no-such-user-here"}"#, "inputs.a.owner"),
        (r#"{"type": "unix", "path": "/a", "socket": "tcp"}"#, "inputs.a.socket"),
        (r#"{"type": "stdin", "when_full": "block"}"#, "inputs.a.when_full"),
        (r#"{"type": "stdin", "header": "json"}"#, "inputs.a.header"),
        (r#"{"type": "stdin", "client": "c83"}"#, "inputs.a.client"),
        (r#"{"type": "stdin", "client": {}}"#, "inputs.a.client"),
        (r#"{"type": "stdin", "client": {"word": 0}}"#, "inputs.a.client.word"),
        (r#"{"type": "stdin", "client": {"word": 1, "fixed": "c83"}}"#, "inputs.a.client"),
        (r#"{"type": "stdin", "client": {"regex": "x"}}"#, "inputs.a.client.regex"),
        (r#"{"type": "stdin", "client": {"fixed": "a b"}}"#, "inputs.a.client.fixed"),
    ] {
        let error = input(keys).unwrap_err();
        assert!(error.contains(named), "{keys} gives: {error}");
    }
    let long = format!(r#"{{"type": "unix", "path": "/{}"}}"#, "x".repeat(108));
    assert!(input(&long).unwrap_err().contains("inputs.a.path"));
}

#[test]
fn the_file_s_own_keys_are_checked() {
    for (file, named) in [
        ("", "JSON"),
        ("[]", "the file"),
        ("{}", "producer"),
        (r#"{"producer": {}}"#, "producer"),
        (r#"{"producer": {"embedded_broker": true, "embedded_broker": true}, "inputs": {}}"#, "embedded_broker"),
        (r#"{"producer": {"embedded_broker": true}}"#, "inputs"),
        (r#"{"producer": {"embedded_broker": true}, "inputs": {}}"#, "inputs"),
        (r#"{"producer": {"embedded_broker": true}, "inputs": "some"}"#, "inputs"),
        (r#"{"producer": {"embedded_broker": true}, "inputs": {"a b": {"type": "stdin"}}}"#, "inputs.a b"),
    ] {
        let error = Config::parse(file, Path::new("x.json")).unwrap_err();
        assert!(error.contains(named), "{file} gives: {error}");
    }
    let stdin = r#""inputs": {"a": {"type": "stdin"}}"#;
    for (key, named) in [
        (r#""sync": {"edge": "a"}"#, "sync"),
        (r#""y": 1"#, "y"),
        (r#""inputs": {}"#, "inputs"),
        (r#""metrics": {}"#, "metrics.listen"),
        (r#""metrics": {"listen": "9470"}"#, "metrics.listen"),
        (r#""metrics": {"listen": "0.0.0.0:9470"}"#, "metrics.listen"),
        (r#""metrics": {"listen": "127.0.0.1:9470", "clients": -1}"#, "metrics.clients"),
        (r#""metrics": {"listen": "127.0.0.1:9470", "path": "/"}"#, "metrics.path"),
        (r#""status": {}"#, "status.socket"),
        (r#""drain_timeout_ms": "10"#, "not JSON"),
        (r#""drain_timeout_ms": 1.5"#, "drain_timeout_ms"),
    ] {
        let error = parse(&format!("{stdin}, {key}")).unwrap_err();
        assert!(error.contains(named), "{key} gives: {error}");
    }
}

#[test]
fn two_inputs_cannot_share_a_place() {
    for (one, other) in [
        (r#"{"type": "stdin"}"#, r#"{"type": "stdin"}"#),
        (r#"{"type": "fifo", "path": "/a"}"#, r#"{"type": "unix", "path": "/a"}"#),
        (r#"{"type": "file", "path": "/a"}"#, r#"{"type": "file", "path": "/a", "follow": true}"#),
        (r#"{"type": "fifo", "path": "/tmp/a"}"#, r#"{"type": "fifo", "path": "/tmp/../tmp/a"}"#),
        (
            r#"{"type": "file", "path": "/a", "follow": true, "position": "/p"}"#,
            r#"{"type": "file", "path": "/b", "follow": true, "position": "/p"}"#,
        ),
    ] {
        let error = parse(&format!(r#""inputs": {{"a": {one}, "b": {other}}}"#)).unwrap_err();
        assert!(error.contains("inputs.b") && error.contains("inputs.a"), "{error}");
    }
}

#[test]
fn each_file_has_a_status_socket_of_its_own() {
    let of = |path: &str| default_socket(Path::new(path));
    assert_eq!(of("/etc/tel/teld.json").file_name().unwrap(), "status.sock");
    assert_ne!(of("/nowhere/a.json"), of("/nowhere/b.json"));
    assert_eq!(of("/nowhere/a.json"), of("/nowhere/a.json"));
    let own = r#""inputs": {"a": {"type": "stdin"}}, "status": {"socket": "/run/x.sock"}"#;
    assert_eq!(parse(own).unwrap().status, Path::new("/run/x.sock"));
    let shared = own.replace(r#""type": "stdin""#, r#""type": "unix", "path": "/run/x.sock""#);
    assert!(parse(&shared).unwrap_err().contains("status.socket"));
    let long = own.replace("/run/x", &"x".repeat(108));
    assert!(parse(&long).unwrap_err().contains("status.socket"));
}

#[test]
fn a_list_is_followed_with_inputs_or_alone() {
    let read = |producer: &str, rest: &str| {
        let kafka = r#""kafka": {"bootstrap.servers": "b:1"}"#;
        let file = format!(r#"{{"producer": {{{kafka}{producer}}}, {rest}}}"#);
        Config::parse(&file, Path::new("/etc/tel/teld.json"))
    };
    let file = r#", "clients.file": "/tmp/clients.json""#;
    let config = read(file, r#""sync": {"edge": "edge-1"}"#).unwrap();
    assert!(config.is_alone());
    let sync = config.sync.unwrap();
    assert_eq!([sync.edge, sync.topic, sync.acks], ["edge-1", "tel.clients", "tel.acks"]);
    let own = r#""sync": {"edge": "e", "topic": "cdn.list", "acks": "cdn.acks"}, "inputs": {}"#;
    assert_eq!(read(file, own).unwrap().sync.unwrap().topic, "cdn.list");
    assert!(!read(file, r#""sync": {"edge": "e"}, "inputs": {"a": {"type": "stdin"}}"#).unwrap().is_alone());

    let long = "x".repeat(60);
    for (keys, named) in [
        ("{}", "sync.edge"),
        ("7", "sync"),
        (r#"{"edge": ""}"#, "sync.edge"),
        (r#"{"edge": "a:b"}"#, "sync.edge"),
        (r#"{"edge": ".."}"#, "sync.edge"),
        (&format!(r#"{{"edge": "{long}"}}"#), "sync.edge"),
        (r#"{"edge": "e", "topic": "a b"}"#, "sync.topic"),
        (r#"{"edge": "e", "topic": "__consumer_offsets"}"#, "sync.topic"),
        (r#"{"edge": "e", "acks": 7}"#, "sync.acks"),
        (r#"{"edge": "e", "acks": "tel.clients"}"#, "sync.acks"),
        (r#"{"edge": "e", "group": "x"}"#, "sync.group"),
    ] {
        let error = read(file, &format!(r#""sync": {keys}"#)).unwrap_err();
        assert!(error.contains(named), "{keys} gives: {error}");
    }
    let sync = r#""sync": {"edge": "e"}"#;
    assert!(read("", sync).unwrap_err().contains("clients.file"));
    assert!(parse(sync).unwrap_err().contains("embedded_broker"));
    let taken = r#", "inputs": {"a": {"type": "file", "path": "/tmp/clients.json"}}"#;
    assert!(read(file, &format!("{sync}{taken}")).unwrap_err().contains("clients.file"));
}
