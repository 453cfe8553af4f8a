//! What a branch of the bank does outside: each letter is sent once, in the order of its channel, whoever is killed and however the
//! service behaves.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use chronon::{
    app::bank::{Request, Response},
    types::Checksum,
};
use chronon_production::{
    client::{Client, Options},
    status::Status,
};

use crate::{
    cluster::{Cluster, chronon, until},
    service::{Manner, Service},
};

/// Accounts, which four channels share by their numbers.
const ACCOUNTS: u64 = 8;

/// How many transfers are waited for between two faults.
const SOME: usize = 40;

/// Starts three replicas of the branch whose letters go there.
fn start(name: &str, sinks: &[&str]) -> Cluster {
    let mut flags = vec!["--application".to_owned(), "branch".to_owned()];
    flags.extend(sinks.iter().map(|flag| (*flag).to_owned()));
    Cluster::start_all_with(name, 3, &flags)
}

/// Clients that move money, each amount once, and the letters that are to be written about it.
struct Transfers {
    letters: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Transfers {
    fn begin(cluster: &Cluster) -> Self {
        let options = Options { patience: Duration::from_secs(60), ..Options::default() };
        let client = until("a client connects", || Client::connect(cluster.addresses(), options.clone()).ok());
        for account in 0..ACCOUNTS {
            assert_eq!(ask(&client, Request::Open { account, deposit: 1 << 40 }), Response::Opened);
        }
        let (letters, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let clients = (0..ACCOUNTS).map(|from| {
            let (client, letters, stop) = (client.clone(), Arc::clone(&letters), Arc::clone(&stop));
            std::thread::spawn(move || {
                let to = (from + 1) % ACCOUNTS;
                for amount in (from..).step_by(ACCOUNTS as usize).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let moved = ask(&client, Request::Transfer { from, to, amount });
                    assert!(matches!(moved, Response::Transferred { .. }), "{moved:?}");
                    letters.lock().unwrap().push(format!("{amount} went from {from} to {to}"));
                    // So much that the letters are not far behind.
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        });
        let clients = clients.collect();
        Self { letters, stop, clients }
    }

    fn made(&self) -> usize {
        self.letters.lock().unwrap().len()
    }

    /// Waits until so many more were made.
    fn wait_for(&self, more: usize) {
        let aim = self.made() + more;
        until("transfers go on", || (self.made() >= aim).then_some(()));
    }

    /// No more of them. Returns the letters that are to be sent.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        std::mem::take(&mut self.letters.lock().unwrap())
    }
}

fn ask(client: &Client, request: Request) -> Response {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    let answer = client.request(payload).unwrap();
    Response::decode(&answer.result.unwrap()).unwrap()
}

/// Waits until every effect has ended, everywhere; none of them a dead letter. However many there are: each may take its time.
fn wait_for_effects(cluster: &Cluster) {
    let pending = |status: &Status| status.effects.pending;
    let mut left = u64::MAX;
    while left > 0 {
        left = until("effects end", || {
            let said: Vec<_> = cluster.up().map(|replica| cluster.status(replica)).collect();
            let most = said.iter().map(pending).max().expect("one is up");
            let is_over = most == 0 && said.iter().all(|status| status.lag == 0);
            (is_over || (1..left).contains(&most)).then_some(most)
        });
    }
}

/// A number below `below` for a call, as good as at random.
fn drawn(call: u64, below: u64) -> u64 {
    (Checksum::of(&call.to_le_bytes()).0 % u128::from(below)) as u64
}

fn bad_manners(call: u64) -> Manner {
    match drawn(call, 20) {
        0 => Manner::Mute,
        1 => Manner::Late,
        2 => Manner::BreaksBefore,
        3 => Manner::BreaksAfter,
        4 => Manner::Fails(503, false),
        5 => Manner::Fails(500, true),
        6 => Manner::Fails(500, false),
        _ => Manner::Well,
    }
}

#[test]
fn letters_are_sent_once_and_in_order_by_a_service_in_bad_manners_while_primaries_are_killed() {
    let service = Service::start(|call, _| bad_manners(call));
    let to = format!("others={}", service.url());
    let mut cluster = start("letters", &["--sink", &to, "--set", "sinks.others.start_ms=200"]);
    let transfers = Transfers::begin(&cluster);
    for _ in 0..4 {
        transfers.wait_for(SOME);
        let victim = cluster.primary();
        cluster.kill(victim);
        transfers.wait_for(SOME);
        cluster.restart(victim);
    }
    service.behave(|_, _| Manner::Well);
    let letters = transfers.end();
    wait_for_effects(&cluster);
    service.judge(&letters);
    assert!(service.calls() > letters.len() as u64, "some were tried again");
    cluster.must_agree();
}

#[test]
fn a_channel_whose_service_hangs_delays_no_other_and_no_transfer() {
    let service = Service::start(|_, call| if call.channel == 0 { Manner::Hangs } else { Manner::Well });
    let cluster = start("hanging", &["--sink", &format!("others={}", service.url())]);
    let transfers = Transfers::begin(&cluster);
    transfers.wait_for(4 * SOME);
    let letters = transfers.end();
    // Those of accounts 0 and 4 are in channel 0.
    let hangs = |letter: &&String| letter.contains("from 0 ") || letter.contains("from 4 ");
    let others = letters.iter().filter(|letter| !hangs(letter)).count();
    until("the others are sent", || (service.done().len() == others).then_some(()));
    assert!(service.done().iter().all(|call| call.channel != 0));
    // A primary that is new tries it again, and has done nothing yet.
    until("one of the hanging ones is tried, and each waits", || {
        let status = cluster.status(cluster.primary());
        let hanging = status.effects.channels.iter().find(|counts| counts.channel == "0")?;
        assert!(hanging.in_flight <= 1 && hanging.done == 0, "one of it is tried at a time");
        let waits = status.effects.pending == (letters.len() - others) as u64;
        (hanging.in_flight == 1 && waits).then_some(())
    });
    service.behave(|_, _| Manner::Well);
    wait_for_effects(&cluster);
    service.judge(&letters);
}

#[test]
fn a_file_has_a_line_for_each_letter_whoever_is_killed_while_it_is_appended() {
    let file = format!("letters-{}.jsonl", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let _ = std::fs::remove_file(&path);
    let mut cluster = start("letters-file", &["--sink", &format!("others=file:{}", path.display())]);
    let transfers = Transfers::begin(&cluster);
    for round in 0..6_u8 {
        transfers.wait_for(SOME);
        // The primary, and now and then all of them.
        let victims = if round % 3 == 2 { vec![0, 1, 2] } else { vec![cluster.primary()] };
        victims.iter().for_each(|victim| cluster.kill(*victim));
        victims.iter().for_each(|victim| cluster.restart(*victim));
    }
    let letters = transfers.end();
    wait_for_effects(&cluster);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut found: Vec<&str> = lines.iter().map(|line| line["payload"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = letters.iter().map(String::as_str).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "each once");
    for channel in 0..4 {
        let of_channel = lines.iter().filter(|line| line["channel"] == channel);
        let ids: Vec<&str> = of_channel.map(|line| line["id"].as_str().unwrap()).collect();
        assert!(ids.is_sorted() && !ids.is_empty(), "channel {channel} keeps its order: {ids:?}");
    }
    cluster.must_agree();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_operator_lists_dead_letters_and_has_them_run_again_or_resolves_or_drops_them() {
    let service = Service::start(|_, _| Manner::Fails(404, false));
    let cluster = start("dead-letters", &["--sink", &format!("others={}", service.url())]);
    let view = cluster.status(cluster.primary()).view;
    let transfers = Transfers::begin(&cluster);
    transfers.wait_for(SOME);
    let mut letters = transfers.end();
    let addresses = cluster.joined_addresses();
    let ask = |arguments: &[&str]| {
        let output = chronon().arg("effects").args(arguments).args(["--addresses", &addresses]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let effects = |arguments: &[&str]| {
        let (code, text) = ask(&[arguments, &["--json"]].concat());
        let said = serde_json::from_str::<serde_json::Value>(&text).unwrap();
        (code, said["effects"].as_array().unwrap().clone())
    };
    let dead = until("every letter is dead", || {
        let (_, dead) = effects(&["list"]);
        (dead.len() == letters.len()).then_some(dead)
    });
    let is_refused =
        |held: &serde_json::Value| (&held["stage"], &held["code"]) == (&"dead: refused".into(), &404.into());
    assert!(dead.iter().all(is_refused), "{dead:?}");
    let status = cluster.status(cluster.primary());
    // Another primary may have tried again what its predecessor had not told of yet.
    if status.view == view {
        assert!(dead.iter().all(|held| held["attempts"] == 1), "{dead:?}");
        assert_eq!(service.calls(), letters.len() as u64, "one attempt each");
    }
    assert_eq!((status.effects.dead, status.effects.parked), (letters.len() as u64, 0));

    let (code, text) = ask(&["list"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), letters.len() + 1), "{text}");
    for (line, held) in lines.iter().zip(&dead) {
        let [id, channel, preview] = ["id", "channel", "preview"].map(|key| held[key].as_str().unwrap());
        let attempts = match held["attempts"].as_u64() {
            Some(1) => "1 attempt".to_owned(),
            more => format!("{} attempts", more.expect("a number")),
        };
        let words = format!("dead: refused, code 404, was not done, {attempts}");
        assert_eq!(*line, format!("{id}  channel {channel}  {words}  {preview:?}"));
    }
    assert_eq!(lines[letters.len()], format!("waiting for an operator: {} effects", letters.len()));

    service.behave(|_, _| Manner::Well);
    let [first, second, third] = [0, 1, 2].map(|place: usize| dead[place]["id"].as_str().unwrap());
    let gone = [0, 2].map(|place: usize| dead[place]["preview"].as_str().unwrap().to_owned());
    assert_eq!(effects(&["drop", first]).0, Some(0));
    assert_eq!(ask(&["resolve", third]), (Some(0), format!("{third}  resolved\n")));
    let (code, text) = ask(&["resolve", third]);
    assert!(code == Some(1) && text.starts_with(third) && text.contains("no such effect"), "{text}");
    let (code, told) = effects(&["redrive", first, second]);
    assert_eq!((code, told[1]["refused"].is_null()), (Some(1), true), "one has ended, and the other is run again");
    assert!(told[0]["refused"].as_str().unwrap().contains("no such effect"), "{told:?}");
    assert_eq!(effects(&["redrive", "--all"]).0, Some(0));
    wait_for_effects(&cluster);
    letters.retain(|letter| !gone.contains(letter));
    let mut found: Vec<String> = service.done().into_iter().map(|call| call.body).collect();
    found.sort_unstable();
    letters.sort_unstable();
    assert_eq!(found, letters, "each once, but what was dropped, and what was done by other means");
    assert_eq!(ask(&["list"]), (Some(0), "waiting for an operator: 0 effects\n".to_owned()));
}
