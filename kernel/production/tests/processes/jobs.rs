//! The job queue: work that is taken, and taken away again.

use chronon_production::client::{KvClient, Options};
use serde_json::Value;

use crate::cluster::{Cluster, chronon, until};

/// What `chronon jobs` prints, as JSON, with its exit status.
fn ask(cluster: &Cluster, request: &[&str]) -> (Option<i32>, Value) {
    let addresses = cluster.joined_addresses();
    let output = chronon().args(["jobs", "--json", "--addresses", &addresses]).args(request).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::String(said)))
}

fn told(cluster: &Cluster, request: &[&str]) -> Value {
    let (status, said) = ask(cluster, request);
    assert_eq!(status, Some(0), "{request:?}: {said}");
    said
}

#[test]
fn a_lease_ends_by_its_timer_and_the_late_worker_is_refused_whoever_was_killed_meanwhile() {
    let mut cluster = Cluster::start_all_with("jobs", 3, &["--application".to_owned(), "jobs".to_owned()]);
    assert_eq!(told(&cluster, &["add", "dishes"])["job"], 1);
    assert_eq!(told(&cluster, &["add", "windows"])["job"], 2);
    let late = told(&cluster, &["take", "--lease-ms", "400"]);
    assert_eq!((&late["job"], &late["token"], &late["what"]), (&1.into(), &1.into(), &"dishes".into()));
    let victim = cluster.primary();
    cluster.kill(victim);
    // Only the timer gives it back, in whatever view.
    until("the lease ends", || (told(&cluster, &["look", "1"])["stage"] == "waiting").then_some(()));
    cluster.restart(victim);
    let again = told(&cluster, &["take", "--lease-ms", "3600000"]);
    assert_eq!((&again["job"], &again["what"]), (&1.into(), &"dishes".into()), "the oldest again");
    assert!(again["token"].as_u64() > late["token"].as_u64(), "{again}");
    for said in ["done", "fail", "extend"] {
        let (status, said) = ask(&cluster, &[said, "1", "--token", "1"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said["refused"].as_str().unwrap().contains("this lease of the job is over"), "{said}");
    }
    let token = again["token"].to_string();
    told(&cluster, &["done", "1", "--token", &token]);
    let standing = told(&cluster, &["look", "1"]);
    assert_eq!((&standing["stage"], &standing["attempts"]), (&"done".into(), &2.into()));
    let counts = told(&cluster, &["count"]);
    assert_eq!(counts, serde_json::json!({ "waiting": 1, "taken": 0, "done": 1, "dead": 0 }));
    cluster.must_agree();
}

#[test]
fn the_queue_is_asked_through_the_program_in_words() {
    let cluster = Cluster::start_all_with("jobs-words", 1, &["--application".to_owned(), "jobs".to_owned()]);
    let addresses = cluster.joined_addresses();
    let ask = |request: &[&str]| {
        let output = chronon().args(["jobs", "--addresses", &addresses]).args(request).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let told = |text: &str| (Some(0), text.to_owned());
    assert_eq!(ask(&["take"]), (Some(1), "nothing waits to be done: come back later\n".to_owned()));
    assert_eq!(ask(&["add", "wash the dishes"]), told("1\n"));
    assert_eq!(ask(&["look", "1"]), told("waiting, 0 attempts\n"));
    assert_eq!(ask(&["take", "--lease-ms", "60000"]), told("job 1 under token 1 for 60,000 ms: wash the dishes\n"));
    assert_eq!(ask(&["fail", "1", "--token", "1"]), told(""));
    assert_eq!(ask(&["count"]), told("1 waiting, 0 taken, 0 done, 0 dead\n"));
    let (status, said) = ask(&["take", "--lease-ms", "0"]);
    assert!(status == Some(2) && said.contains("another duration"), "{said}");
    for command in [&["kv", "put", "greeting", "hello"][..], &["bank"], &["bench"]] {
        let output =
            chronon().args(&command[..1]).args(["--addresses", &addresses]).args(&command[1..]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "the queue is no store: {said}");
        assert!(said.contains("the cluster runs jobs, which `chronon jobs` asks, and not "), "{said}");
    }
    assert_eq!(ask(&["count"]), told("1 waiting, 0 taken, 0 done, 0 dead\n"), "nobody added anything");
}

#[test]
fn what_is_meant_for_the_queue_is_not_sent_to_a_store() {
    let cluster = Cluster::start("jobs-no-queue", 1);
    let (status, said) = ask(&cluster, &["done", "1", "--token", "1"]);
    assert_eq!(status, Some(2), "{said}");
    let said = said.as_str().unwrap();
    assert!(said.contains("the cluster runs kv, which `chronon kv` asks, and not jobs: nothing was sent"), "{said}");
    // That request, read as one of the store's, puts something there.
    let kv = KvClient::connect(cluster.addresses(), Options::default()).unwrap();
    assert_eq!(kv.get(b"\0").unwrap(), None);
}
