//! Whether the brokers are set up as onboarding relies on: what is wrong is found before a client finds it.

use super::admin::{
    Acl, AclFilter, Admin, Broker, ConfigChange, ConfigEntry, ConfigOf, ConfigSource, Operation, Pattern, Permission,
    ResourceType,
};
use super::{groups, list, Connection};
use crate::error::{Error, Kind, Result};
use crate::names::{Namespace, ACKS_TOPIC, LIST_TOPIC};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Good,
    /// It works; somebody should look at it, as this code cannot.
    Look,
    /// Clients would see what is not theirs, or onboarding would fail.
    Bad,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub text: String,
    /// What to do about it; empty if nothing.
    pub remedy: String,
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Good => "ok ",
            Severity::Look => "?? ",
            Severity::Bad => "BAD",
        };
        write!(f, "{mark} {}", self.text)?;
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        Ok(())
    }
}

fn good(text: impl fmt::Display) -> Finding {
    Finding { severity: Severity::Good, text: text.to_string(), remedy: String::new() }
}

fn look(text: impl fmt::Display, remedy: impl fmt::Display) -> Finding {
    Finding { severity: Severity::Look, text: text.to_string(), remedy: remedy.to_string() }
}

fn bad(text: impl fmt::Display, remedy: impl fmt::Display) -> Finding {
    Finding { severity: Severity::Bad, text: text.to_string(), remedy: remedy.to_string() }
}

/// Settings that a listener can have of its own, as `listener.name.<listener>.<setting>`.
const MAPPING_RULES: &str = "ssl.principal.mapping.rules";
const CLIENT_AUTH: &str = "ssl.client.auth";
/// Longer than the id of any client, so that no client's topic has this name.
const NO_TOPIC: &str = "doctor-tries-here-whether-settings-and-partitions-may-be-changed";

/// Looks at the brokers' settings, at what tel-control may do, and at the control topics if they are there. `stranger` is a connection
/// with a certificate of this system's CA that has no rights: whether brokers trust the CA, and whether they refuse who has no rights.
///
/// What cannot be looked at is a finding.
pub fn examine(admin: &Admin, namespace: &Namespace, stranger: Option<&Connection>) -> Vec<Finding> {
    let cluster = match admin.describe_cluster() {
        Ok(cluster) => cluster,
        Err(error) => {
            return vec![bad(
                error,
                "check bootstrap.servers, the certificates of tel-control and that the brokers run",
            )];
        }
    };
    let count = cluster.brokers.len();
    let mut findings = vec![good(format_args!("cluster {} with {count} brokers", cluster.id))];
    findings.extend(check_rights(&cluster.allowed));
    findings.push(examine_groups(admin));
    let ports = stranger.and_then(|stranger| stranger.get("bootstrap.servers")).map(ports).unwrap_or_default();
    for broker in &cluster.brokers {
        findings.extend(examine_broker(admin, broker, count, &ports));
    }
    findings.extend(examine_topics(admin));
    findings.extend(examine_client_topics(admin, namespace));
    findings.extend(match admin.describe_acls(&AclFilter::of("User:*")) {
        Ok(acls) => check_everyone_s(namespace, &acls),
        Err(error) => vec![bad(error, "")],
    });
    match stranger {
        Some(stranger) => findings.extend(examine_stranger(stranger)),
        None => {
            findings.push(look("no certificate without rights was tried", "brokers may not trust the CA of clients"))
        }
    }
    findings
}

fn check_rights(allowed: &[Operation]) -> Vec<Finding> {
    let needed = [
        (Operation::Alter, "make and delete ACLs"),
        (Operation::Describe, "see ACLs"),
        (Operation::Create, "make topics"),
        (Operation::DescribeConfigs, "see the brokers' settings"),
    ];
    let is_allowed = |operation| allowed.contains(&operation) || allowed.contains(&Operation::All);
    let missing: Vec<Finding> = needed
        .into_iter()
        .filter(|(operation, _)| !is_allowed(*operation))
        .map(|(operation, what)| {
            bad(
                format_args!("tel-control may not {what}"),
                format_args!("give its principal {operation:?} on the cluster, or make it a super user"),
            )
        })
        .collect();
    if missing.is_empty() {
        return vec![good("tel-control may see and make ACLs, and make topics")];
    }
    missing
}

/// Kafka makes the topic of groups' places when the first group is asked for: until then it has no answer.
fn examine_groups(admin: &Admin) -> Finding {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    loop {
        match groups::may_look(admin) {
            Ok(true) => return good("tel-control may see consumer groups"),
            Ok(false) => {
                return bad(
                    "tel-control may not see all consumer groups: who reads is not known, and no unused credential is revoked",
                    "give its principal Describe on all groups, or make it a super user",
                )
            }
            Err(error) if begun.elapsed() > PATIENCE => return bad(error, "consumers cannot join groups either"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// The ports of a list of addresses.
fn ports(servers: &str) -> Vec<&str> {
    servers.split(',').filter_map(|server| Some(server.trim().rsplit_once(':')?.1)).collect()
}

fn examine_broker(admin: &Admin, broker: &Broker, count: usize, ports: &[&str]) -> Vec<Finding> {
    let who = format!("broker {} ({}:{})", broker.id, broker.host, broker.port);
    // An authorizer's own settings are not among those that can be asked for by name.
    match admin
        .describe_configs(&[ConfigOf::Broker(broker.id)], &[])
        .and_then(|mut found| found.pop().unwrap_or(Ok(Vec::new())))
    {
        Ok(config) => check_broker(&who, &config, count, ports),
        Err(error) => vec![bad(format_args!("{who}: {error}"), "its settings are not known")],
    }
}

/// `ports` are those where clients find the brokers, as far as known.
fn check_broker(who: &str, config: &[ConfigEntry], count: usize, ports: &[&str]) -> Vec<Finding> {
    let config: BTreeMap<&str, &ConfigEntry> = config.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let value = |name: &str| config.get(name).and_then(|entry| entry.value.as_deref());
    let mut findings = Vec::new();
    let mut expect = |name: &str, is_good: &dyn Fn(&str) -> bool, remedy: &str| {
        let found = value(name).unwrap_or_default();
        let text = format!("{who}: {name} is {}", if found.is_empty() { "not set" } else { found });
        findings.push(if is_good(found) { good(text) } else { bad(text, remedy) });
    };
    expect(
        "authorizer.class.name",
        &|found| !found.is_empty(),
        "without one everybody may do everything; set org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    expect(
        "auto.create.topics.enable",
        &|found| found == "false",
        "a deleted client's topic would come back, without its settings; set it to false",
    );
    let listeners = clients_listeners(value("advertised.listeners").or(value("listeners")), ports);
    for (name, found) in of_listeners(&config, MAPPING_RULES, listeners.as_deref()) {
        let text = format!("{who}: {name} is {}", found.unwrap_or("not set"));
        findings.push(match found {
            None | Some("" | "DEFAULT") => good(text),
            Some(_) => bad(
                text,
                "principals would not be CN=…, so that no client has its rights; set it to DEFAULT for the clients' listener",
            ),
        });
    }
    for (name, found) in of_listeners(&config, CLIENT_AUTH, listeners.as_deref()) {
        if found != Some("required") {
            findings.push(look(
                format_args!("{who}: {name} is {}", found.unwrap_or("not set")),
                "it must be required for the clients' listener",
            ));
        }
    }
    findings.push(check_everyone(who, config.get("allow.everyone.if.no.acl.found").copied()));
    let replicas = value("transaction.state.log.replication.factor").and_then(|value| value.parse::<usize>().ok());
    if let Some(replicas) = replicas.filter(|replicas| *replicas > count) {
        findings.push(bad(
            format_args!("{who}: transaction.state.log.replication.factor is {replicas}, there are {count} brokers"),
            "the client list is written in transactions; lower it, or start more brokers",
        ));
    }
    findings
}

/// The names of the listeners at these ports, as settings have them, of a list such as `CLIENTS://host:9093,ADMIN://host:9094`. None if
/// that cannot be told, as behind something that forwards another port.
fn clients_listeners(advertised: Option<&str>, ports: &[&str]) -> Option<Vec<String>> {
    let is_theirs = |address: &str| address.rsplit_once(':').is_some_and(|(_, port)| ports.contains(&port));
    let listeners = advertised?.split(',').filter_map(|listener| listener.trim().split_once("://"));
    let theirs: Vec<String> =
        listeners.filter(|(_, address)| is_theirs(address)).map(|(name, _)| name.to_lowercase()).collect();
    (!theirs.is_empty()).then_some(theirs)
}

/// What `setting` is for the clients' listeners: the listener's own where it has one, the broker's otherwise. Where the clients'
/// listeners are not known, each could be one.
fn of_listeners<'a>(
    config: &BTreeMap<&'a str, &'a ConfigEntry>,
    setting: &'a str,
    listeners: Option<&[String]>,
) -> Vec<(&'a str, Option<&'a str>)> {
    let own = |name: &'a str| name.strip_prefix("listener.name.")?.strip_suffix(setting)?.strip_suffix('.');
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    let mut without_own = listeners.map(<[String]>::to_vec);
    for (name, entry) in config {
        let Some(listener) = own(name) else { continue };
        if listeners.is_none_or(|listeners| listeners.iter().any(|theirs| theirs == listener)) {
            found.push((name, entry.value.as_deref()));
        }
        if let Some(without_own) = &mut without_own {
            without_own.retain(|theirs| theirs != listener);
        }
    }
    if without_own.is_none_or(|without_own| !without_own.is_empty()) {
        found.push((setting, config.get(setting).and_then(|entry| entry.value.as_deref())));
    }
    found
}

fn check_everyone(who: &str, entry: Option<&ConfigEntry>) -> Finding {
    const NAME: &str = "allow.everyone.if.no.acl.found";
    match entry.map(|entry| (entry.value.as_deref(), entry.source)) {
        None | Some((Some("false"), _)) | Some((None, ConfigSource::Default)) => {
            good(format_args!("{who}: {NAME} is false"))
        }
        Some((Some(value), _)) => bad(
            format_args!("{who}: {NAME} is {value}"),
            "every client could read topics and groups without ACLs; set it to false",
        ),
        Some((None, _)) => look(format_args!("{who}: {NAME} is set, brokers do not show to what"), "it must be false"),
    }
}

/// Rights that everybody has.
fn check_everyone_s(namespace: &Namespace, acls: &[Acl]) -> Vec<Finding> {
    let ours = [namespace.as_str(), LIST_TOPIC, ACKS_TOPIC];
    let reaches = |acl: &Acl| match (acl.resource, acl.pattern) {
        _ if acl.permission != Permission::Allow => false,
        (ResourceType::Topic | ResourceType::Group, Pattern::Literal) if acl.name == "*" => true,
        (ResourceType::Topic, Pattern::Prefixed) => {
            ours.iter().any(|ours| ours.starts_with(&acl.name) || acl.name.starts_with(ours))
        }
        (ResourceType::Topic, Pattern::Literal) => namespace.holds(&acl.name) || ours[1..].contains(&acl.name.as_str()),
        // Groups of clients have a colon in their names, where others have what they like.
        (ResourceType::Group, Pattern::Literal) => acl.name.contains(':'),
        (ResourceType::Group, Pattern::Prefixed) => true,
        _ => false,
    };
    let remedy = "clients would reach what is not theirs; delete this ACL";
    acls.iter().filter(|acl| reaches(acl)).map(|acl| bad(acl, remedy)).collect()
}

fn examine_topics(admin: &Admin) -> Vec<Finding> {
    let names = [LIST_TOPIC.to_owned(), ACKS_TOPIC.to_owned()];
    let needed: [&[Operation]; 2] = [&[Operation::Read, Operation::Write], &[Operation::Read, Operation::Write]];
    let topics = match admin.topic_rights(&names) {
        Ok(topics) => topics,
        Err(error) => return vec![bad(error, "")],
    };
    let mut findings = Vec::new();
    for ((topic, name), needed) in topics.into_iter().zip(&names).zip(needed) {
        match topic {
            Err(error) if error.kind == Kind::NotFound => {
                findings.push(look(format_args!("topic {name} is not there"), "tel-control makes it when it starts"));
            }
            Err(error) => findings.push(bad(error, "")),
            Ok(topic) => {
                let missing: Vec<String> = needed
                    .iter()
                    .filter(|operation| !topic.allowed.contains(operation))
                    .map(|operation| format!("{operation:?}"))
                    .collect();
                if !missing.is_empty() {
                    findings.push(bad(
                        format_args!("topic {name}: tel-control may not use it"),
                        format_args!("give its principal {} on it", missing.join(" and ")),
                    ));
                }
                if topic.replication < 2 {
                    findings.push(look(
                        format_args!("topic {name}: has {} replica", topic.replication),
                        "with its broker the list is lost, and edges follow no changes",
                    ));
                }
                if name == LIST_TOPIC {
                    match list::check_topic(admin, topic.partitions) {
                        Ok(wrong) if wrong.is_empty() => {
                            findings.push(good(format_args!("topic {name}: keeps the list")))
                        }
                        Ok(wrong) => {
                            findings.extend(wrong.into_iter().map(|text| look(text, "change the topic's setting")))
                        }
                        Err(error) => findings.push(bad(error, "delete it when no edge runs, and start tel-control")),
                    }
                }
            }
        }
    }
    findings
}

/// Whether clients' topics may be changed, tried where there is none: brokers look at rights first. Nothing changes by it.
fn examine_client_topics(admin: &Admin, namespace: &Namespace) -> Vec<Finding> {
    let prefix = namespace.as_str();
    let name = format!("{prefix}{NO_TOPIC}");
    let of = ConfigOf::Topic(name.clone());
    let change = ConfigChange::Set("retention.ms".to_owned(), "86400000".to_owned());
    let first = |answers: Result<Vec<Result<()>>>| answers.and_then(|mut answers| answers.pop().unwrap_or(Ok(())));
    let tried = [
        (
            "DescribeConfigs",
            first(
                admin
                    .describe_configs(std::slice::from_ref(&of), &[])
                    .map(|found| found.into_iter().map(|found| found.map(|_| ())).collect()),
            ),
        ),
        ("AlterConfigs", first(admin.alter_configs(&[(of, vec![change])]))),
        ("Alter", first(admin.create_partitions(&[(name.clone(), 1)]))),
    ];
    let mut findings: Vec<Finding> = tried
        .into_iter()
        .filter_map(|(right, answer)| match answer {
            Err(error) if error.kind == Kind::NotFound => None,
            Ok(()) => None,
            Err(error) => Some(bad(
                format_args!("topics {prefix}…: tel-control may not do what needs {right}: {error}"),
                format_args!("give its principal {right} on topics with the prefix {prefix}"),
            )),
        })
        .collect();
    if findings.is_empty() {
        findings.push(good(format_args!("tel-control may change topics {prefix}…")));
    }
    findings
}

/// What somebody may do who has a certificate of this system's CA and no rights.
fn examine_stranger(connection: &Connection) -> Vec<Finding> {
    let asked = Admin::new(connection).and_then(|mut admin| {
        admin.set_timeout(Duration::from_secs(10));
        admin.describe_cluster()?;
        let names = [LIST_TOPIC.to_owned()];
        Ok(admin.describe_topics(&names)?.pop())
    });
    match asked {
        Err(Error { text, .. }) => {
            vec![bad(
                format_args!("a certificate of the clients' CA does not connect: {text}"),
                "add the CA to the brokers' truststore (ssl.truststore.location) of the clients' listener",
            )]
        }
        Ok(answer) => {
            let trusted = good("brokers trust the clients' CA");
            match answer {
                Some(Err(error)) if error.kind == Kind::Unavailable => {
                    vec![trusted, good("who has no rights is refused")]
                }
                _ => vec![
                    trusted,
                    bad(
                        format_args!("who has no rights may see {LIST_TOPIC}"),
                        "set an authorizer, allow.everyone.if.no.acl.found to false, and delete ACLs of User:*",
                    ),
                ],
            }
        }
    }
}

/// The worst of them; `Good` for none.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, Option<&str>)]) -> Vec<ConfigEntry> {
        let entry = |(name, value): &(&str, Option<&str>)| ConfigEntry {
            name: (*name).into(),
            value: value.map(str::to_owned),
            source: ConfigSource::Broker,
        };
        entries.iter().map(entry).collect()
    }

    const GOOD: [(&str, Option<&str>); 4] = [
        ("authorizer.class.name", Some("org.apache.kafka.metadata.authorizer.StandardAuthorizer")),
        ("ssl.principal.mapping.rules", Some("DEFAULT")),
        ("auto.create.topics.enable", Some("false")),
        ("ssl.client.auth", Some("required")),
    ];

    #[test]
    fn each_bad_setting_is_found_by_name() {
        assert_eq!(worst(&check_broker("b", &config(&GOOD), 1, &[])), Severity::Good);
        for (at, value) in [(0, ""), (1, "RULE:^CN=(.*)$/$1/"), (2, "true")] {
            let mut settings = GOOD;
            settings[at].1 = Some(value);
            let findings = check_broker("b", &config(&settings), 1, &[]);
            let bad: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Bad).collect();
            assert_eq!(bad.len(), 1);
            assert!(bad[0].text.contains(GOOD[at].0) && !bad[0].remedy.is_empty(), "{}", bad[0]);
        }
        for (value, severity) in
            [(Some("true"), Severity::Bad), (Some("false"), Severity::Good), (None, Severity::Look)]
        {
            let settings = [&GOOD[..], &[("allow.everyone.if.no.acl.found", value)]].concat();
            assert_eq!(worst(&check_broker("b", &config(&settings), 1, &[])), severity);
        }
        let settings = [&GOOD[..], &[("transaction.state.log.replication.factor", Some("3"))]].concat();
        assert_eq!(worst(&check_broker("b", &config(&settings), 1, &[])), Severity::Bad);
        assert_eq!(worst(&check_broker("b", &config(&settings), 3, &[])), Severity::Good);
    }

    #[test]
    fn a_listener_s_own_settings_count_for_clients_if_it_is_theirs() {
        const LISTENERS: &str = "advertised.listeners";
        const OWN_RULES: &str = "listener.name.clients.ssl.principal.mapping.rules";
        const OWN_AUTH: &str = "listener.name.clients.ssl.client.auth";
        let rules = Some("RULE:^CN=(.*)$/$1/");
        let worst_of = |changed: &[(&str, Option<&str>)], ports: &[&str]| {
            let mut settings = vec![(LISTENERS, Some("CLIENTS://k.example:9093,ADMIN://k.example:9094"))];
            settings.extend(GOOD.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name)));
            settings.extend(changed);
            worst(&check_broker("b", &config(&settings), 1, ports))
        };
        // The clients' listener is at 9093; where none is known, any could be theirs.
        for (ports, own, other) in [
            (&["9093"][..], Severity::Bad, Severity::Good),
            (&["9094"], Severity::Good, Severity::Bad),
            (&["19093"], Severity::Bad, Severity::Bad),
            (&[], Severity::Bad, Severity::Bad),
        ] {
            assert_eq!(worst_of(&[(OWN_RULES, rules)], ports), own, "{ports:?}");
            assert_eq!(
                worst_of(&[("listener.name.admin.ssl.principal.mapping.rules", rules)], ports),
                other,
                "{ports:?}"
            );
        }
        // What the clients' listener has of its own is what counts there.
        assert_eq!(worst_of(&[(MAPPING_RULES, rules)], &["9093"]), Severity::Bad);
        assert_eq!(worst_of(&[(MAPPING_RULES, rules), (OWN_RULES, Some("DEFAULT"))], &["9093"]), Severity::Good);
        assert_eq!(worst_of(&[(OWN_AUTH, Some("none"))], &["9093"]), Severity::Look);
        assert_eq!(worst_of(&[(CLIENT_AUTH, None), (OWN_AUTH, Some("required"))], &["9093"]), Severity::Good);
    }

    #[test]
    fn rights_of_everybody_are_found_where_they_reach_clients() {
        let namespace = Namespace::new("logs.").unwrap();
        let found = |resource, pattern, name| {
            let acl = Acl::allow("User:*", Operation::Read, resource, pattern, name);
            check_everyone_s(&namespace, &[acl]).len()
        };
        use {Pattern::*, ResourceType::*};
        for (resource, pattern, name) in [
            (Topic, Literal, "*"),
            (Topic, Literal, "logs.c83"),
            (Topic, Literal, "tel.acks"),
            (Topic, Prefixed, "l"),
            (Topic, Prefixed, "logs.c"),
            (Topic, Prefixed, "tel."),
            (Group, Literal, "*"),
            (Group, Prefixed, "c8"),
        ] {
            assert_eq!(found(resource, pattern, name), 1, "{name}");
        }
        for (resource, pattern, name) in
            [(Topic, Literal, "news"), (Topic, Prefixed, "news."), (Group, Literal, "x"), (Cluster, Literal, "*")]
        {
            assert_eq!(found(resource, pattern, name), 0, "{name}");
        }
    }

    #[test]
    fn missing_rights_are_named() {
        let all = [Operation::Alter, Operation::Describe, Operation::Create, Operation::DescribeConfigs];
        assert_eq!(worst(&check_rights(&all)), Severity::Good);
        assert_eq!(worst(&check_rights(&[Operation::All])), Severity::Good);
        let findings = check_rights(&all[1..]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].remedy.contains("Alter"), "{}", findings[0]);
    }
}
