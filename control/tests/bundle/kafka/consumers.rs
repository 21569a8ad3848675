//! Filebeat and the OpenTelemetry Collector, built by `tests/consumers/build`, with the bundle's files unchanged.

use super::*;

/// The program, built if need be.
fn built(name: &str) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumers/build");
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| drop(told(&root(), &build, &[])));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("consumers").join(name)
}

/// The texts of the log records that the collector's debug exporter prints.
fn bodies(output: &str) -> Vec<String> {
    let body =
        |line: &str| line.trim().strip_prefix("Body: Str(").and_then(|rest| rest.strip_suffix(')')).map(str::to_owned);
    output.lines().filter_map(body).collect()
}

#[test]
fn filebeat_reads_its_client_s_lines_unchanged() {
    let kafka = Kafka::start();
    let folder = Folder::new("filebeat");
    let here = kafka.made("c83").unzip(&folder);
    let (wanted, more) = (lines("c83", 100..150), lines("c83", 150..160));
    kafka.produce("c83", &wanted);
    kafka.produce("c8", &lines("c8", 100..150));
    let (config, data) = (here.join("filebeat"), here.join("filebeat-data"));
    let arguments = ["-e", "--path.config", config.to_str().unwrap(), "--path.data", data.to_str().unwrap()];
    let filebeat = Reading::start("filebeat", &here, built("filebeat"), &arguments);
    assert_eq!(filebeat.take(50), wanted);
    kafka.produce("c83", &more);
    assert_eq!(filebeat.take(10), more);
    // At its end it may complain of its control group here, too.
    let surplus: Vec<String> = filebeat.end().into_iter().filter(|line| line.contains(" HTTP/1.1\" ")).collect();
    assert_eq!(surplus, Vec::<String>::new());
}

#[test]
fn the_collector_reads_its_client_s_lines_unchanged() {
    let kafka = Kafka::start();
    let folder = Folder::new("collector");
    let here = kafka.made("c83").unzip(&folder);
    let (wanted, more) = (lines("c83", 100..150), lines("c83", 150..160));
    kafka.produce("c83", &wanted);
    kafka.produce("c8", &lines("c8", 100..150));
    let program = built("collector");
    // The debug exporter writes to standard error.
    let command = format!("exec '{}' --config opentelemetry/collector.yaml 2>&1", program.display());
    let collector = Reading::start("collector", &here, "sh", &["-c", &command]);
    let mut printed = String::new();
    let mut await_bodies = |count: usize| {
        let deadline = Instant::now() + PATIENCE;
        while bodies(&printed).len() < count {
            let line = collector.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            printed += &line.unwrap_or_else(|_| panic!("{} of {count} lines: {printed}", bodies(&printed).len()));
            printed.push('\n');
        }
    };
    await_bodies(50);
    kafka.produce("c83", &more);
    await_bodies(60);
    printed += &collector.end().join("\n");
    let mut got = bodies(&printed);
    got.sort();
    assert_eq!(got, [wanted, more].concat());
}
