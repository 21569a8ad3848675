//! The built-in rules, and rules of an operator, on machines that are made up.

use super::fake::Fake;
use super::found::Found;
use super::rules;
use super::survey::survey;
use serde_json::{json, Value};

const FORMAT: &str = r#"%{VCL_Log:client}x %h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i""#;
const RTMP_MAPS: &str = "7f10-7f11 r-xp 00000000 00:1f 77 /usr/lib/nginx/modules/ngx_rtmp_module.so\n";

/// What is found with the built-in rules and those in the machine's /detect.d.
fn found(fake: &Fake) -> Found {
    survey(&rules::load(&fake.root().join("detect.d")).unwrap(), &fake.machine())
}

fn inputs(fake: &Fake) -> Value {
    serde_json::from_str(&found(fake).inputs_json()).unwrap()
}

fn varnishncsa(workdir: &str) -> Value {
    json!({"type": "exec", "command": ["varnishncsa", "-n", workdir, "-F", FORMAT]})
}

#[test]
fn an_empty_machine_has_nothing() {
    let fake = Fake::new("empty");
    assert_eq!(inputs(&fake), json!({}));
    assert_eq!(found(&fake).describe(), [""; 0]);
}

#[test]
fn varnish_is_found_with_its_working_directory() {
    let fake = Fake::new("varnish");
    fake.folder("/var/lib/varnish/varnishd");
    fake.process(50, 1, "varnishd").arguments(&["/usr/sbin/varnishd", "-j", "unix,user=vcache", "-F", "-a", ":6081"]);
    assert_eq!(inputs(&fake), json!({"varnish": varnishncsa("/var/lib/varnish/varnishd")}));
    let lines = found(&fake).describe();
    let expected =
        "varnish: varnishd is running (process 50, workdir /var/lib/varnish/varnishd): inputs.varnish: its VCL";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
}

#[test]
fn before_varnish_7_the_working_directory_is_named_after_the_host() {
    let fake = Fake::new("varnish-6");
    fake.file("/proc/sys/kernel/hostname", "edge-1\n");
    fake.folder("/var/lib/varnish/edge-1");
    fake.process(50, 1, "varnishd").arguments(&["varnishd", "-F"]);
    assert_eq!(inputs(&fake), json!({"varnish": varnishncsa("/var/lib/varnish/edge-1")}));
}

#[test]
fn a_working_directory_that_is_not_there_is_remarked() {
    let fake = Fake::new("no-workdir");
    fake.process(50, 1, "varnishd").arguments(&["varnishd", "-n", "/srv/gone"]);
    assert_eq!(inputs(&fake), json!({"varnish-gone": varnishncsa("/srv/gone")}));
    assert!(found(&fake).describe()[0].contains("workdir /srv/gone, which is not there"));
}

#[test]
fn each_varnish_is_an_input_and_keeps_its_name() {
    let fake = Fake::new("instances");
    fake.process(50, 1, "varnishd").arguments(&["varnishd", "-n", "one"]);
    fake.process(60, 1, "varnishd").arguments(&["varnishd", "-n/srv/two"]);
    fake.process(70, 1, "varnishd").arguments(&["varnishd"]);
    let (one, two) = (varnishncsa("/var/lib/varnish/one"), varnishncsa("/srv/two"));
    let default = varnishncsa("/var/lib/varnish/varnishd");
    assert_eq!(inputs(&fake), json!({"varnish-one": one, "varnish-two": two, "varnish": default}));
    fake.end(50);
    assert_eq!(inputs(&fake), json!({"varnish-two": two, "varnish": default}));
}

#[test]
fn the_cache_worker_is_the_same_varnish() {
    let fake = Fake::new("worker");
    let line = ["varnishd", "-n", "one"];
    fake.process(50, 1, "varnishd").program("/usr/sbin/varnishd").arguments(&line);
    fake.process(51, 50, "cache-main").program("/usr/sbin/varnishd").user(997).arguments(&line);
    // A process may write over its command line, and the worker's program cannot always be seen.
    fake.process(52, 50, "varnishd").user(997).arguments(&["varnishd: worker"]);
    assert_eq!(inputs(&fake), json!({"varnish-one": varnishncsa("/var/lib/varnish/one")}));
    assert_eq!(found(&fake).describe().len(), 1);
}

#[test]
fn a_varnish_that_a_script_of_its_name_has_started_is_found() {
    let fake = Fake::new("script");
    fake.process(50, 1, "varnishd").program("/bin/dash").arguments(&["/bin/sh", "/usr/local/bin/varnishd"]);
    fake.process(51, 50, "varnishd").program("/usr/sbin/varnishd").arguments(&["varnishd", "-n", "one"]);
    assert_eq!(inputs(&fake)["varnish-one"], varnishncsa("/var/lib/varnish/one"));
}

#[test]
fn what_an_ordinary_user_calls_varnish_is_said_and_not_used() {
    let fake = Fake::new("user");
    fake.process(50, 1, "varnishd").user(1001).arguments(&["varnishd", "-n", "/home/eve/v"]);
    fake.process(60, 1, "nginx").user(1001).arguments(&["nginx"]);
    assert_eq!(inputs(&fake), json!({}));
    let lines = found(&fake).describe();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("varnish: varnishd is running (process 50): no input: user 1001"), "{lines:?}");
    fake.file(
        "/detect.d/1.json",
        r#"{"varnish": {"process": {"name": "varnishd", "users": ["1001"]}, "input": {"type": "stdin"}}}"#,
    );
    assert_eq!(inputs(&fake), json!({"varnish": {"type": "stdin"}}));
}

#[test]
fn an_option_that_is_no_text_is_said_and_not_used() {
    let fake = Fake::new("no-text");
    fake.process(50, 1, "varnishd").arguments(&[b"varnishd".as_slice(), b"-n", b"/srv/\xff"]);
    assert_eq!(inputs(&fake), json!({}));
    assert_eq!(
        found(&fake).describe(),
        ["varnish: varnishd is running (process 50): no input: its option -n is not UTF-8"]
    );
}

#[test]
fn nginx_with_rtmp_is_a_fifo() {
    let fake = Fake::new("rtmp");
    fake.process(50, 1, "nginx").arguments(&["nginx: master process /usr/sbin/nginx"]).maps(RTMP_MAPS);
    fake.process(51, 50, "nginx").user(33).arguments(&["nginx: worker process"]).maps(RTMP_MAPS);
    assert_eq!(inputs(&fake), json!({"media": {"type": "fifo", "path": "/run/teld/media.fifo"}}));
    let lines = found(&fake).describe();
    let expected = "nginx-rtmp: nginx is running (process 50): inputs.media: nginx is to write";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
}

#[test]
fn nginx_without_rtmp_is_told_what_to_do() {
    let fake = Fake::new("nginx");
    fake.process(50, 1, "nginx").arguments(&["nginx: master process /usr/sbin/nginx"]).maps("");
    assert_eq!(inputs(&fake), json!({}));
    let lines = found(&fake).describe();
    assert!(
        lines.len() == 1 && lines[0].starts_with("nginx: nginx is running (process 50): no input: let it log"),
        "{lines:?}"
    );
}

#[test]
fn an_nginx_whose_modules_cannot_be_seen_is_said() {
    let fake = Fake::new("hidden-maps");
    fake.process(50, 1, "nginx").arguments(&["nginx: master process /usr/sbin/nginx"]).hides_maps();
    assert_eq!(inputs(&fake), json!({}));
    let lines = found(&fake).describe();
    let expected =
        "nginx-rtmp: nginx is running (process 50): no input: whether the rule fits cannot be seen: /proc/50/maps: ";
    assert!(lines.len() == 2 && lines[1].starts_with(expected), "{lines:?}");
    fake.file("/etc/nginx/modules-enabled/50-mod-rtmp.conf", "load_module modules/ngx_rtmp_module.so;\n");
    assert_eq!(inputs(&fake), json!({"media": {"type": "fifo", "path": "/run/teld/media.fifo"}}));
    assert_eq!(found(&fake).describe().len(), 1);
}

#[test]
fn fifos_are_inputs_of_their_names() {
    let fake = Fake::new("fifos");
    fake.fifo("/run/teld/app.fifo");
    fake.fifo("/run/teld/my app.fifo");
    fake.fifo("/run/teld/other");
    fake.file("/run/teld/file.fifo", "");
    let fifo = |path: &str| json!({"type": "fifo", "path": path});
    assert_eq!(inputs(&fake), json!({"app": fifo("/run/teld/app.fifo"), "my_app": fifo("/run/teld/my app.fifo")}));
    assert_eq!(found(&fake).describe()[0], "fifo: the FIFO /run/teld/app.fifo is there: inputs.app");
}

#[test]
fn a_fifo_that_another_rule_has_is_not_another_input() {
    let fake = Fake::new("taken-fifo");
    fake.fifo("/run/teld/media.fifo");
    let media = json!({"media": {"type": "fifo", "path": "/run/teld/media.fifo"}});
    assert_eq!(inputs(&fake), media);
    fake.process(50, 1, "nginx").arguments(&["nginx: master process /usr/sbin/nginx"]).maps(RTMP_MAPS);
    assert_eq!(inputs(&fake), media, "the name stays, whether nginx runs or not");
}

#[test]
fn hidden_processes_are_said() {
    let fake = Fake::new("hidepid");
    fake.end(1);
    let lines = found(&fake).describe();
    assert!(lines.len() == 1 && lines[0].contains("hidepid"), "{lines:?}");
    assert!(found(&fake).report().starts_with("nothing found"));
}

#[test]
fn a_new_kind_of_server_is_a_few_lines() {
    let fake = Fake::new("new-kind");
    fake.file(
        "/detect.d/10-haproxy.json",
        r#"{ "haproxy": {
               "process": "haproxy",
               "input": { "type": "unix", "socket": "datagram", "path": "/run/teld/haproxy.sock", "header": "syslog" },
               "note": "haproxy writes there by log unix@/run/teld/haproxy.sock" } }"#,
    );
    fake.file(
        "/detect.d/20-origin.json",
        r#"{ "origin": {
               "process": { "name": "java", "argument": "*/origin.jar", "options": { "dir": { "flag": "-Dlogs=" } } },
               "input_name": "origin",
               "input": { "type": "file", "follow": true, "path": "{dir}/access.log" } } }"#,
    );
    fake.process(50, 1, "haproxy").arguments(&["haproxy", "-f", "/etc/haproxy/haproxy.cfg"]);
    fake.process(60, 1, "java").arguments(&["java", "-Dlogs=/srv/logs", "-jar", "/srv/origin.jar"]);
    fake.process(61, 1, "java").arguments(&["java", "-Dlogs=/srv/else", "-jar", "/srv/other.jar"]);
    fake.process(62, 1, "java").arguments(&["java", "-jar", "/srv/origin.jar"]);
    assert_eq!(
        inputs(&fake),
        json!({
            "haproxy": {
                "type": "unix", "socket": "datagram", "path": "/run/teld/haproxy.sock", "header": "syslog",
            },
            "origin": {"type": "file", "follow": true, "path": "/srv/logs/access.log"},
        })
    );
}

#[test]
fn an_operators_rule_has_its_processes_before_the_built_in_ones() {
    let fake = Fake::new("special");
    fake.file(
        "/detect.d/1.json",
        r#"{"edge": {"process": {"name": "nginx", "argument": "*/edge.conf"},
                     "input": {"type": "fifo", "path": "/run/teld/edge.fifo"}}}"#,
    );
    fake.process(50, 1, "nginx").arguments(&["nginx", "-c", "/srv/edge.conf"]).maps(RTMP_MAPS);
    fake.fifo("/run/teld/edge.fifo");
    assert_eq!(inputs(&fake), json!({"edge": {"type": "fifo", "path": "/run/teld/edge.fifo"}}));
    assert_eq!(found(&fake).describe().len(), 2);
}
