//! The doctor finds what is wrong with a broker, and nothing wrong with a right one.

use crate::broker::{shared, Broker};
use crate::{eventually, namespace};
use tel_control::kafka::admin::Admin;
use tel_control::kafka::doctor::{examine, worst, Finding, Severity};
use tel_control::kafka::groups;

fn bad(findings: &[Finding]) -> Vec<String> {
    findings.iter().filter(|finding| finding.severity == Severity::Bad).map(Finding::to_string).collect()
}

#[test]
fn a_right_broker_is_right() {
    let broker = shared();
    broker.cert("stranger", "stranger");
    // One that has just been started may take longer for its first group than the doctor waits for a running one's.
    eventually("it has made the topic of groups' places", || groups::may_look(&broker.admin()).is_ok());
    let findings = examine(&broker.admin(), &namespace(), Some(&broker.connection("stranger")));
    assert_eq!(bad(&findings), Vec::<String>::new());
    assert!(findings.iter().any(|finding| finding.text.contains("who has no rights is refused")), "{findings:#?}");

    assert!(findings.iter().any(|finding| finding.text.contains("may change topics")), "{findings:#?}");

    // Who looks without rights is told which are missing.
    let nobody = Admin::new(&broker.connection("stranger")).unwrap();
    let found = bad(&examine(&nobody, &namespace(), None)).join("\n");
    for right in [
        "Alter on the cluster",
        "Describe on the cluster",
        "Create on the cluster",
        "Describe on all groups",
        "AlterConfigs on topics",
        "Alter on topics",
    ] {
        assert!(found.contains(right), "{right}: {found}");
    }
}

#[test]
fn a_broker_that_is_down_is_said() {
    let nowhere =
        tel_control::kafka::Connection::new([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())]).unwrap();
    let mut admin = Admin::new(&nowhere).unwrap();
    admin.set_timeout(std::time::Duration::from_secs(1));
    let findings = examine(&admin, &namespace(), None);
    assert!(findings.len() == 1 && findings[0].text.contains("127.0.0.1:1"), "{findings:?}");
}

#[test]
fn what_is_wrong_with_a_broker_is_found_by_name() {
    let broker = Broker::start();
    broker.cert("stranger", "stranger");
    let admin = Admin::new(&broker.plain_connection()).unwrap();
    broker.restart_with(
        "ssl.principal.mapping.rules=RULE:^CN=(.*?),.*$/$1/,DEFAULT\nauto.create.topics.enable=true\nallow.everyone.if.no.acl.found=true",
    );
    let findings = examine(&admin, &namespace(), Some(&broker.connection("stranger")));
    let found = bad(&findings).join("\n");
    for name in ["ssl.principal.mapping.rules", "auto.create.topics.enable", "who has no rights may see"] {
        assert!(found.contains(name), "{name}: {found}");
    }
    let everyone =
        findings.iter().find(|finding| finding.text.contains("allow.everyone.if.no.acl.found")).expect("a finding");
    assert!(everyone.severity > Severity::Good, "{everyone}");

    // Settings of the one listener of clients alone.
    broker.restart_with(
        "ssl.principal.mapping.rules=DEFAULT\nlistener.name.ssl.ssl.principal.mapping.rules=RULE:^CN=(.*?),.*$/$1/,DEFAULT\n\
         listener.name.ssl.ssl.client.auth=requested",
    );
    let findings = examine(&admin, &namespace(), Some(&broker.connection("stranger")));
    let found = bad(&findings).join("\n");
    assert!(found.contains("listener.name.ssl.ssl.principal.mapping.rules is RULE"), "{found}");
    assert!(findings.iter().any(|finding| finding.text.contains("listener.name.ssl.ssl.client.auth is requested")));

    broker.restart_with("authorizer.class.name=");
    let findings = examine(&admin, &namespace(), None);
    assert!(bad(&findings).iter().any(|text| text.contains("authorizer.class.name")), "{findings:#?}");
    assert_eq!(worst(&findings), Severity::Bad);
}
