//! Real processes on real files and sockets, and what can befall them. After each: every acknowledged write is there, what was
//! asked again happened once, and the replicas hold the same log, byte for byte.

#[path = "../common/addresses.rs"]
mod addresses;
mod cluster;
mod demonstrations;
mod effects;
mod jobs;
mod laps;
mod load;
mod log;
mod losses;
mod metrics;
mod reads;
mod service;
mod wire;

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::FileExt,
    process::Stdio,
    time::Duration,
};

use chronon::{storage::layout::SUPERBLOCK_COPY_SIZE, types::Checksum};
use chronon_production::status::State;

use cluster::{Cluster, LAYOUT, chronon, until};
use load::Load;
use wire::Wires;

/// How much is acknowledged between two faults.
const SOME: u64 = 150;

/// Kills whoever `whom` names, again and again, with work before, meanwhile and after.
fn kill_and_return(name: &str, replicas: u8, rounds: u32, whom: impl Fn(&Cluster) -> Vec<u8>) {
    let mut cluster = Cluster::start(name, replicas);
    let load = Load::begin(&cluster);
    for _ in 0..rounds {
        load.wait_for(SOME);
        let victims = whom(&cluster);
        victims.iter().for_each(|victim| cluster.kill(*victim));
        if victims.len() <= usize::from((replicas - 1) / 2) {
            load.wait_for(SOME);
        }
        victims.iter().for_each(|victim| cluster.restart(*victim));
    }
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn the_primary_is_killed() {
    kill_and_return("kill-primary", 3, 4, |cluster| vec![cluster.primary()]);
}

#[test]
fn a_backup_is_killed() {
    kill_and_return("kill-backup", 3, 4, |cluster| vec![(cluster.primary() + 1) % 3]);
}

#[test]
fn all_are_killed_at_once() {
    kill_and_return("kill-all", 3, 4, |_| vec![0, 1, 2]);
}

#[test]
fn two_of_five_are_killed_the_primary_among_them() {
    kill_and_return("kill-two-of-five", 5, 3, |cluster| {
        let primary = cluster.primary();
        vec![primary, (primary + 2) % 5]
    });
}

/// As a service manager ends them.
#[test]
fn one_and_then_all_are_told_to_terminate() {
    let mut cluster = Cluster::start("terminate", 3);
    let load = Load::begin(&cluster);
    for round in 0..4 {
        load.wait_for(SOME);
        let victims = if round % 2 == 0 { vec![cluster.primary()] } else { vec![0, 1, 2] };
        cluster.terminate(&victims);
        victims.iter().for_each(|victim| cluster.restart(*victim));
    }
    load.wait_for(SOME);
    cluster.ends_well(load);
}

/// How many rounds of the kill loop are run, if not so many as `CHRONON_KILL_ROUNDS` says.
const KILL_ROUNDS: u32 = 10;

/// Any of three are killed after any amount of work, some again soon after. A cluster with a journal half full ends well, and another
/// one takes its place.
#[test]
fn any_are_killed_at_any_time() {
    let rounds = std::env::var("CHRONON_KILL_ROUNDS").map_or(KILL_ROUNDS, |rounds| rounds.parse().unwrap());
    let mut round: u32 = 0;
    while round < rounds {
        let mut cluster = Cluster::start("kill-loop", 3);
        let load = Load::begin(&cluster);
        while round < rounds && cluster.status(cluster.primary()).op < u64::from(LAYOUT.slot_count / 2) {
            let drawn = Checksum::of(&round.to_le_bytes()).0.to_le_bytes();
            // Shown if it fails.
            println!("round {round}");
            load.wait_for(1 + u64::from(drawn[0]));
            // The bits of a number from 1 to 7: at least one of three.
            let victims = (0..3).filter(|replica| (drawn[1] % 7 + 1) >> replica & 1 == 1);
            victims.clone().for_each(|victim| cluster.kill(victim));
            for victim in victims {
                cluster.restart(victim);
                if drawn[2] >> victim & 1 == 1 {
                    // Before, in or after its recovery: when the fault falls is drawn, and nothing is waited for.
                    std::thread::sleep(Duration::from_micros(100 * u64::from(drawn[3])));
                    cluster.kill(victim);
                    cluster.restart(victim);
                }
            }
            round += 1;
        }
        load.wait_for(SOME);
        cluster.ends_well(load);
    }
}

#[test]
fn replicas_with_every_kind_of_disk_and_sockets_serve_together_and_are_killed_in_turn() {
    let kinds: [(&[_], _); 3] = [
        (&["--sockets", "uring"], "sockets=\"io_uring\""),
        (&["--sockets", "readiness"], "sockets=\"by readiness\""),
        (&["--disk", "sync", "--sockets", "uring"], "disk=\"plain system calls\" sockets=\"io_uring\""),
    ];
    let mut cluster = Cluster::start_each_with("kinds", &kinds.map(|(flags, _)| flags));
    let load = Load::begin(&cluster);
    for (replica, (_, words)) in (0..).zip(kinds) {
        load.wait_for(SOME);
        assert!(cluster.last_words(replica).contains(words), "{}", cluster.last_words(replica));
        cluster.kill(replica);
        load.wait_for(SOME);
        cluster.restart(replica);
    }
    load.wait_for(SOME);
    cluster.ends_well(load);
}

/// With connections open, with things under way on each, and with who waits to be accepted.
#[test]
fn the_port_of_a_killed_process_can_be_had_at_once() {
    let mut cluster = Cluster::start("port", 3);
    let load = Load::begin(&cluster);
    for round in 0..10 {
        load.wait_for(SOME / 5);
        let victim = round % 3;
        let address = cluster.addresses()[usize::from(victim)];
        let waiting: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        cluster.kill(victim);
        let listener = std::net::TcpListener::bind(address).expect("the port is free as soon as the process is gone");
        drop((listener, waiting));
        cluster.restart(victim);
    }
    cluster.ends_well(load);
}

#[test]
fn a_replica_is_stopped_and_goes_on_as_if_nothing_had_been() {
    let cluster = Cluster::start("stop", 3);
    let load = Load::begin(&cluster);
    for behind in [0, 1, 0, 2] {
        load.wait_for(SOME);
        let victim = (cluster.primary() + behind) % 3;
        cluster.stop(victim);
        // The others go on, under another primary if it was that.
        load.wait_for(SOME);
        cluster.go_on(victim);
        load.wait_for(SOME);
    }
    cluster.ends_well(load);
}

#[test]
fn a_replica_is_cut_off_from_the_others_and_then_hears_without_being_heard() {
    for (name, replicas) in [("cut-off", 3), ("cut-off-five", 5)] {
        let cluster = Cluster::start_wired(name, replicas);
        let load = Load::begin(&cluster);
        load.wait_for(SOME);
        for cut in [Wires::isolate, Wires::mute, Wires::deafen] {
            // Of five, another one beside the primary: a majority is left.
            let primary = cluster.primary();
            cut(cluster.wires(), primary);
            if replicas == 5 {
                cut(cluster.wires(), (primary + 2) % 5);
            }
            load.wait_for(SOME);
            cluster.wires().heal();
            load.wait_for(SOME);
        }
        cluster.ends_well(load);
    }
}

#[test]
fn a_data_file_is_damaged_in_its_journal_and_mended_from_the_others() {
    let mut cluster = Cluster::start("damage", 3);
    let load = Load::begin(&cluster);
    load.wait_for(4 * SOME);
    let victim = (cluster.primary() + 1) % 3;
    cluster.kill(victim);
    load.wait_for(SOME);
    let file = File::options().read(true).write(true).open(cluster.data_file(victim)).unwrap();
    // Five prepares that were certainly committed, and a sector of the header ring.
    for slot in [2, 3, 20, 21, 40] {
        flip(&file, LAYOUT.prepare_offset(slot) + 130);
    }
    flip(&file, LAYOUT.header_ring_offset() + 10 * 128 + 5);
    // And one of the superblock's copies.
    flip(&file, u64::from(SUPERBLOCK_COPY_SIZE) + 1000);
    drop(file);
    cluster.restart(victim);
    load.wait_for(SOME);
    for (weight, words) in [
        ("WARN", "copies of the superblock differ"),
        ("WARN", "the journal is damaged where an op may be that was acknowledged"),
        ("INFO", "a prepare that was missing or damaged came from another replica"),
    ] {
        let told = |line: &str| line.contains(weight) && line.contains(words) && line.contains("times=");
        until(words, || cluster.last_words(victim).lines().any(told).then_some(()));
    }
    cluster.ends_well(load);
}

fn flip(file: &File, offset: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

#[test]
fn a_data_file_that_is_gone_or_cut_short_or_lost_its_superblock_is_not_served_from() {
    let mut cluster = Cluster::start("gone", 3);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    let victim = (cluster.primary() + 1) % 3;
    cluster.kill(victim);
    let (path, aside) = (cluster.data_file(victim), cluster.data_file(victim).with_extension("aside"));
    std::fs::rename(&path, &aside).unwrap();
    assert!(cluster.refusal(victim).contains("does not exist"), "{}", cluster.refusal(victim));
    std::fs::copy(&aside, &path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(LAYOUT.size() / 2 / 4096 * 4096).unwrap();
    assert!(cluster.refusal(victim).contains("cut short"), "{}", cluster.refusal(victim));
    std::fs::copy(&aside, &path).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (0..4).for_each(|copy| flip(&file, copy * 8192 + 200));
    assert!(cluster.refusal(victim).contains("superblock"), "{}", cluster.refusal(victim));
    load.wait_for(SOME);
    std::fs::rename(&aside, &path).unwrap();
    cluster.restart(victim);
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn a_second_process_on_the_same_data_file_is_told_who_has_it() {
    let cluster = Cluster::start("second", 1);
    let load = Load::begin(&cluster);
    let said = cluster.refusal(0);
    assert!(said.contains(&format!("in use by process {}", cluster.process(0))), "{said}");
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn who_looks_into_a_data_file_that_is_served_from_is_told_so_and_disturbs_nobody() {
    let cluster = Cluster::start("look", 1);
    let load = Load::begin(&cluster);
    let holder = format!("in use by process {} (chronon): what is shown is in motion", cluster.process(0));
    for what in ["superblock", "journal", "checkpoint"].repeat(3) {
        load.wait_for(SOME);
        let output = chronon().args(["inspect", what, "--json"]).arg(cluster.data_file(0)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&holder), "{what}: {said}");
        // A write that it saw half done is damage to it.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {:?}: {said}", output.status);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report.is_object(), "{report}");
    }
    cluster.ends_well(load);
}

#[test]
fn a_peer_that_sends_garbage_and_one_that_says_nothing_disturb_nobody() {
    let cluster = Cluster::start("garbage", 3);
    let load = Load::begin(&cluster);
    let mut silent = Vec::new();
    for round in 0..20_u8 {
        for address in cluster.addresses() {
            silent.push(TcpStream::connect(address).unwrap());
            let mut hostile = TcpStream::connect(address).unwrap();
            hostile.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let garbage: Vec<u8> =
                (0..5000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ round).collect();
            // It may be closed before it has said everything.
            let _ = hostile.write_all(&garbage);
            let mut heard = Vec::new();
            let _ = hostile.read_to_end(&mut heard);
            assert!(heard.len() <= 32, "nothing but a hello is said to who sends garbage");
        }
    }
    load.wait_for(SOME);
    let refused: u64 = (0..3).map(|replica| cluster.status(replica).network.refused).sum();
    assert!(refused >= 60, "each was counted: {refused}");
    drop(silent);
    cluster.ends_well(load);
}

/// A mount of its own; needs the right to make one, and says so if there is none.
#[test]
fn a_full_disk_stops_the_replica_that_has_it_and_no_other() {
    let Some(mut cluster) = Cluster::start_on_small_mount("full", 3, 2) else { return };
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    cluster.fill_small_mount();
    cluster.wait_for_end(2);
    load.wait_for(SOME);
    assert!(cluster.last_words(2).contains("NoSpace"), "{}", cluster.last_words(2));
    cluster.empty_small_mount();
    cluster.restart(2);
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn wrong_flags_are_told_in_a_sentence_with_status_2() {
    for (arguments, expected) in [
        (&["start", "--data", "x", "--addresses", "nowhere"][..], "nowhere"),
        (&["kv", "--addresses", "127.0.0.1:1", "fetch", "x"], "fetch"),
        (&["start", "--data", "/nonexistent/x", "--addresses", "127.0.0.1:1"], "does not exist"),
    ] {
        let output = chronon().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn the_store_is_asked_through_the_program() {
    let cluster = Cluster::start("kv", 3);
    let addresses = cluster.joined_addresses();
    let ask = |request: &[&str]| {
        let output = chronon().args(["kv", "--addresses", &addresses]).args(request).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let told = |text: &str| (Some(0), text.to_owned());
    let nothing = (Some(1), String::new());
    assert_eq!(ask(&["get", "greeting"]), nothing);
    assert_eq!(ask(&["put", "greeting", "hello"]), told(""));
    assert_eq!(ask(&["get", "greeting"]), told("hello"), "bare");
    assert_eq!(ask(&["append", "greeting", ", you"]), told("10\n"));
    assert_eq!(ask(&["cas", "greeting", "x", "--expected", "hello"]), nothing);
    assert_eq!(ask(&["cas", "greeting", "bye", "--expected", "hello, you"]), told(""));
    assert_eq!(ask(&["cas", "other", "new"]), told(""));
    assert_eq!(ask(&["delete", "other"]), told(""));
    assert_eq!(ask(&["delete", "other"]), nothing);
    let mut repl = chronon();
    repl.args(["repl", "--addresses", &addresses]);
    let mut repl = repl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = b"put \"a key\" 1\nfetch x\nget greeting\nget \"a key\"\nput \xff \xfe\nget \xff\nget none\n";
    repl.stdin.take().unwrap().write_all(lines).unwrap();
    let output = repl.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), b"bye1\xfe".to_vec()));
}

#[test]
fn a_cluster_says_how_it_is_through_the_program() {
    let mut cluster = Cluster::start("status", 3);
    cluster.kill((cluster.primary() + 1) % 3);
    let addresses = cluster.joined_addresses();
    let status = |json: &[&str]| chronon().args(["status", "--addresses", &addresses]).args(json).output().unwrap();
    // On a busy machine a view may last no longer than it takes to ask.
    let serving =
        |json: &'static [&'static str]| until("it serves", || Some(status(json)).filter(|said| said.status.success()));
    let said = String::from_utf8_lossy(&serving(&[]).stdout).into_owned();
    assert!(said.contains("primary") && said.contains("no replica answers"), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&serving(&["--json"]).stdout).unwrap();
    assert_eq!(json["serves"], true);
    cluster.kill(cluster.primary());
    assert_eq!(status(&[]).status.code(), Some(1), "one of three serves nobody");
    assert!(cluster.up().all(|replica| cluster.status(replica).state != State::Recovering));
}
