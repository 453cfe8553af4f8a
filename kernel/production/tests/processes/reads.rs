//! What queries promise, of real processes: a linearizable one misses nothing that was acknowledged before it was asked, whoever is
//! killed or cut off in between; a stale one is true at the op that it names.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use chronon::{
    app::kv::{Request, Response},
    types::Op,
};
use chronon_production::client::{Answer, Client, Freshness, Options};

use crate::cluster::{Cluster, chronon, until};

const KEY: &[u8] = b"k";

fn connect(cluster: &Cluster) -> Client {
    let options = Options { sessions: 2, patience: Duration::from_secs(60), ..Options::default() };
    until("a client connects", || Client::connect(cluster.addresses(), options.clone()).ok())
}

/// Lets `number` be what is under the key; the op in which that happened.
fn write(client: &Client, number: u64) -> Op {
    let mut payload = Vec::new();
    Request::Put { key: KEY, value: &number.to_le_bytes() }.encode(&mut payload);
    let answer = client.request(payload).unwrap();
    answer.result.unwrap();
    answer.op
}

/// The number under the key; 0 if there is none yet. And the op that this is true at.
fn read(client: &Client, freshness: Freshness) -> (Op, u64) {
    let mut payload = Vec::new();
    Request::Get { key: KEY }.encode(&mut payload);
    let Answer { op, result, .. } = client.submit_query(freshness, payload).wait().unwrap();
    let response = result.unwrap();
    match Response::decode(&response) {
        Ok(Response::Missing) => (op, 0),
        Ok(Response::Found(value)) => (op, u64::from_le_bytes(value.try_into().unwrap())),
        other => panic!("{other:?}"),
    }
}

/// What one writer was told: the numbers from 1 upwards, and the op of each.
struct Written(Vec<Op>);

impl Written {
    /// Whether the key held `number` after `op`.
    fn must_have_held(&self, (op, number): (Op, u64)) {
        let held = self.0.partition_point(|written| *written <= op) as u64;
        assert_eq!(number, held, "at {op}, of {:?}", self.0.get(held as usize));
    }
}

#[test]
fn a_read_after_the_primary_was_killed_sees_the_write_acknowledged_before() {
    let mut cluster = Cluster::start("read-killed", 3);
    let (writer, reader) = (connect(&cluster), connect(&cluster));
    let mut written = Written(Vec::new());
    for number in 1..=6 {
        let primary = cluster.primary();
        written.0.push(write(&writer, number));
        // At once: the others may not know yet that it is committed.
        cluster.kill(primary);
        let seen = read(&reader, Freshness::Linearizable);
        assert_eq!(seen.1, number);
        written.must_have_held(seen);
        cluster.restart(primary);
    }
}

/// Says that it is over when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How much is written between two faults, and in the first half of which the fault falls.
const SOME: u64 = 150;

#[test]
fn readers_beside_a_writer_see_everything_acknowledged_while_primaries_are_killed() {
    let mut cluster = Cluster::start("read-beside", 3);
    let clients: Vec<Client> = (0..3).map(|_| connect(&cluster)).collect();
    let (acknowledged, reads, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (written, seen) = (Mutex::new(Written(Vec::new())), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let (go_on, told_to_go_on) = mpsc::channel();
        scope.spawn(|| {
            let _ends = Ends(&over);
            for () in told_to_go_on {
                for _ in 0..SOME {
                    let number = acknowledged.load(Ordering::SeqCst) + 1;
                    written.lock().unwrap().0.push(write(&clients[0], number));
                    acknowledged.store(number, Ordering::SeqCst);
                }
            }
        });
        for (client, freshness) in [(&clients[1], Freshness::Linearizable), (&clients[2], Freshness::Stale)] {
            let (acknowledged, reads, over, seen) = (&acknowledged, &reads, &over, &seen);
            scope.spawn(move || {
                let _ends = Ends(over);
                let mut last = 0;
                while !over.load(Ordering::SeqCst) {
                    let before = acknowledged.load(Ordering::SeqCst).max(last);
                    let (op, number) = read(client, freshness);
                    seen.lock().unwrap().push((op, number));
                    if freshness == Freshness::Linearizable {
                        assert!(number >= before, "{number} was read after {before} was acknowledged or read");
                        last = number;
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let _ends = Ends(&over);
        let go_on_until = |written: u64| {
            let aim = reads.load(Ordering::SeqCst) + SOME;
            until("writes and reads go on", || {
                assert!(!over.load(Ordering::SeqCst), "one of the threads failed, as it says");
                let counts = (acknowledged.load(Ordering::SeqCst), reads.load(Ordering::SeqCst));
                (counts.0 >= written && counts.1 >= aim).then_some(())
            });
        };
        for round in 0..4 {
            let primary = cluster.primary();
            go_on.send(()).unwrap();
            until("some are written", || (acknowledged.load(Ordering::SeqCst) > round * SOME + SOME / 4).then_some(()));
            cluster.kill(primary);
            go_on_until((round + 1) * SOME);
            cluster.restart(primary);
        }
        drop(go_on);
    });
    let (written, seen) = (written.into_inner().unwrap(), seen.into_inner().unwrap());
    seen.into_iter().for_each(|seen| written.must_have_held(seen));
    drop(clients);
    cluster.must_agree();
}

#[test]
fn a_primary_that_is_cut_off_from_the_others_and_not_from_its_clients_answers_no_query() {
    let cluster = Cluster::start_wired("read-cut-off", 3);
    let (writer, reader) = (connect(&cluster), connect(&cluster));
    write(&writer, 1);
    // By now the reader knows whom to ask.
    assert_eq!(read(&reader, Freshness::Linearizable).1, 1);
    cluster.wires().isolate(cluster.primary());
    write(&writer, 2);
    assert_eq!(read(&reader, Freshness::Linearizable).1, 2);
}

#[test]
fn a_stale_read_of_any_replica_is_true_at_the_op_that_it_names() {
    let mut cluster = Cluster::start("read-stale", 3);
    let client = connect(&cluster);
    let mut written = Written(Vec::new());
    for alone in 0..3 {
        (0..20).for_each(|_| written.0.push(write(&client, written.0.len() as u64 + 1)));
        let others: Vec<u8> = (0..3).filter(|replica| *replica != alone).collect();
        others.iter().for_each(|other| cluster.kill(*other));
        let (op, number) = read(&client, Freshness::Stale);
        written.must_have_held((op, number));
        assert_eq!(op.0, cluster.status(alone).applied, "nobody else was there to answer");
        others.iter().for_each(|other| cluster.restart(*other));
    }
}

#[test]
fn the_program_reads_what_is_acknowledged_or_says_the_op_of_what_it_read() {
    let mut cluster = Cluster::start("read-program", 3);
    let op = write(&connect(&cluster), 7);
    let addresses = cluster.joined_addresses();
    let get = |more: &[&str]| {
        let output = chronon().args(["kv", "--addresses", &addresses, "get", "k"]).args(more).output().unwrap();
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let value = || 7_u64.to_le_bytes().to_vec();
    assert_eq!(get(&[]), (Some(0), value(), String::new()));
    let primary = cluster.primary();
    (0..3).filter(|replica| *replica != primary).for_each(|backup| cluster.kill(backup));
    assert_eq!(get(&["--stale"]), (Some(0), value(), format!("as of {op}\n")));
    let (status, printed, said) = get(&["--patience-ms", "2000"]);
    assert_eq!((status, printed), (Some(3), Vec::new()));
    assert!(said.contains("changes nothing, so ask again"), "{said}");
}
