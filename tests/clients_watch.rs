//! `clients.watch`: the list's file is noticed within a second, whatever is done to it. On the embedded broker.

mod common;

use common::{client_list, replace_file, wait_until, Folder};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tel::{Log, Producer};

/// What is promised, and a little for a machine that is busy with other tests.
const NOTICED: Duration = Duration::from_millis(1000 + 500);
/// Looks at the file that have taken place for certain.
const LOOKS: Duration = Duration::from_millis(1200);

struct Rig {
    producer: Producer,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new(file: &Path) -> Rig {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let log = Log::new(Box::new(move |_, text| ear.lock().unwrap().push(text.to_owned())));
        let config = serde_json::json!({"embedded_broker": true, "clients.file": file, "kafka": {"linger.ms": 10}});
        Rig { producer: Producer::new(&config.to_string(), log).expect("a host always comes up"), heard }
    }

    fn wants(&self, id: &str) -> bool {
        self.producer.wants(id.as_bytes())
    }

    fn revision(&self) -> u64 {
        self.producer.stats().expect("statistics").clients_revision
    }

    fn trouble(&self) -> String {
        let json: serde_json::Value =
            serde_json::from_str(&self.producer.stats_json().expect("statistics")).expect("JSON");
        json["clients_trouble"].as_str().expect("a text").to_owned()
    }

    fn heard(&self, text: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|said| said.contains(text)).count()
    }
}

#[test]
fn a_list_renamed_into_place_is_noticed_within_a_second() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(1, "", ["one"]));
    let rig = Rig::new(&file);
    assert!(rig.wants("one") && rig.revision() == 1);
    let mut slowest = Duration::ZERO;
    for revision in 2..8 {
        let id = format!("client{revision}");
        replace_file(&file, &client_list(revision, "", [&id]));
        slowest = slowest.max(wait_until("the new list", NOTICED, || rig.wants(&id)));
        assert!(!rig.wants("one") && rig.revision() == revision && rig.trouble().is_empty());
    }
    println!("noticed after {slowest:?} at most");
    // And lines go by it.
    rig.producer.submit(b"client7 line").expect("accepted");
    rig.producer.submit(b"one line").expect("accepted");
    rig.producer.flush(Some(Duration::from_secs(30))).expect("delivered");
    let stats = rig.producer.stats().expect("statistics");
    assert_eq!((stats.delivered, stats.unknown_client, stats.residual()), (1, 1, 0));
}

#[test]
fn a_list_written_in_place_is_noticed_too() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(1, "", ["one"]));
    let rig = Rig::new(&file);
    // The same number of bytes, in the same file.
    std::fs::write(&file, client_list(1, "", ["two"])).expect("written");
    wait_until("the new list", NOTICED, || rig.wants("two") && !rig.wants("one"));
}

#[test]
fn a_lower_revision_is_ignored_until_it_is_reloaded_by_hand() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(7, "", ["seven"]));
    let rig = Rig::new(&file);
    replace_file(&file, &client_list(6, "", ["six"]));
    wait_until("a word on it", NOTICED, || rig.trouble().contains("revision 6 is older"));
    std::thread::sleep(LOOKS);
    assert!(rig.wants("seven") && !rig.wants("six") && rig.revision() == 7);
    assert_eq!(rig.heard("revision 6 is older"), 1, "said once: {:?}", rig.heard.lock().unwrap());
    rig.producer.reload_clients(None).expect("taken, whatever its revision");
    assert!(rig.wants("six") && rig.revision() == 6 && rig.trouble().is_empty());
    // The same revision again is no lower one.
    replace_file(&file, &client_list(6, "", ["six", "more"]));
    wait_until("the new list", NOTICED, || rig.wants("more"));
}

#[test]
fn a_malformed_list_keeps_the_old_one_and_the_next_good_one_is_taken() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(1, "", ["one"]));
    let rig = Rig::new(&file);
    for malformed in ["", "{\"revision\": 2, \"clients\": [{\"id\": \"tw", "[]"] {
        replace_file(&file, malformed);
        wait_until("a word on it", NOTICED, || rig.trouble().contains("clients.json"));
        assert!(rig.wants("one") && rig.revision() == 1);
        replace_file(&file, &client_list(1, "", ["one"]));
        wait_until("the trouble is over", NOTICED, || rig.trouble().is_empty());
    }
    replace_file(&file, &client_list(2, "", ["two"]));
    wait_until("the new list", NOTICED, || rig.wants("two") && !rig.wants("one"));
}

#[test]
fn a_file_missing_at_the_start_is_taken_when_it_appears() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    let rig = Rig::new(&file);
    assert!(rig.trouble().contains("clients.json") && rig.producer.stats().expect("statistics").clients == 0);
    std::thread::sleep(LOOKS);
    assert_eq!(rig.heard("was not taken"), 1, "said once: {:?}", rig.heard.lock().unwrap());
    replace_file(&file, &client_list(1, "", ["one"]));
    wait_until("the list", NOTICED, || rig.wants("one"));
    assert_eq!(rig.trouble(), "");
}

#[test]
fn a_file_that_goes_away_leaves_the_list_and_is_taken_when_it_is_back() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(1, "", ["one"]));
    let rig = Rig::new(&file);
    std::fs::remove_file(&file).expect("removed");
    wait_until("a word on it", NOTICED, || rig.heard("gone") == 1);
    assert!(rig.wants("one"));
    replace_file(&file, &client_list(2, "", ["two"]));
    wait_until("the new list", NOTICED, || rig.wants("two"));
}

#[test]
fn a_list_from_memory_ends_the_watching_until_a_reload() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    replace_file(&file, &client_list(1, "", ["one"]));
    let rig = Rig::new(&file);
    rig.producer.set_clients(client_list(5, "", ["memory"]).as_bytes()).expect("taken");
    replace_file(&file, &client_list(9, "", ["nine"]));
    std::thread::sleep(LOOKS);
    assert!(rig.wants("memory") && !rig.wants("nine"));
    rig.producer.reload_clients(None).expect("taken");
    assert!(rig.wants("nine") && !rig.wants("memory"));
    replace_file(&file, &client_list(10, "", ["ten"]));
    wait_until("the new list", NOTICED, || rig.wants("ten"));
}

#[test]
fn a_named_pipe_in_the_list_s_place_holds_nothing_up() {
    let folder = Folder::new("watch");
    let file = folder.file("clients.json");
    let status = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo");
    assert!(status.success());
    let rig = Rig::new(&file);
    assert!(rig.trouble().contains("not a regular file"), "{}", rig.trouble());
    std::fs::remove_file(&file).expect("removed");
    replace_file(&file, &client_list(1, "", ["one"]));
    wait_until("the list", NOTICED, || rig.wants("one"));
}
