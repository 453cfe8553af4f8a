//! Checkpoints in the grid: a journal that comes round rests on them, and a state that outgrows them is told.

use std::{fs::File, path::Path, time::Instant};

use chronon::{
    storage::Layout,
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile, client, inspect as look,
    local::LocalCluster,
    status::{self, Status},
};

use crate::{
    addresses::own_addresses,
    counter,
    replica::Replica,
    scrape::scraped,
    support::{Folder, PATIENCE, ask_until, close, inspect},
};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 256, block_size: 16 * 1024 };

#[test]
fn a_journal_comes_round_and_what_is_served_again_begins_with_a_checkpoint() {
    let folder = Folder::new("grid-checkpoint");
    let path = folder.path().join("replica-0.chronon");
    let start = || LocalCluster::start(&counter::Counters, folder.path(), 1, LAYOUT, |_| {}).unwrap();
    let cluster = start();
    let count = |cluster: &LocalCluster| {
        let client = client::Client::connect(cluster.addresses(), client::Options::default()).unwrap();
        client.request("apples").unwrap().result.unwrap()[..].to_vec()
    };
    for _ in 0..3 * LAYOUT.slot_count / 2 {
        count(&cluster);
    }
    let covers = |status: &Status| status.op - status.checkpoint < u64::from(LAYOUT.slot_count / 2);
    let status = ask_until(cluster.addresses()[0], "a checkpoint follows", covers);
    assert!(status.checkpoint > u64::from(LAYOUT.slot_count), "every slot was used twice");
    close(cluster, &path);
    let again = start();
    assert_eq!(count(&again), (3 * LAYOUT.slot_count / 2 + 1).to_string().as_bytes());
    close(again, &path);
    let report = look::checkpoint(&DataFile::open_to_read(&path).unwrap()).unwrap();
    assert!(report.header.op >= status.checkpoint && report.session_leaves > 0 && report.state_leaves > 0);
    assert_eq!((report.is_damaged, report.root.is_some()), (false, true));
    let (held_from, ops) = prepares_since(&path, 0, u64::MAX);
    assert!(held_from > u64::from(LAYOUT.slot_count / 2) && ops[0] == held_from, "earlier ones are gone: {ops:?}");
    assert!(ops.len() <= LAYOUT.slot_count as usize + 16, "a round, and what a primary has in flight: {ops:?}");
    assert_eq!(prepares_since(&path, 0, held_from - 1), (held_from, vec![]));
    let (text, json) = inspect("journal", &path, &["--ops", "5.."]);
    text.assert_says(&[&format!("ops before {held_from} are no longer in the journal")]);
    assert_eq!(json["held_from"], held_from);
    let mut bytes = std::fs::read(&path).unwrap();
    for block in 0..LAYOUT.block_count {
        bytes[LAYOUT.block_offset(block) as usize + 40] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let damaged = look::checkpoint(&DataFile::open_to_read(&path).unwrap()).unwrap();
    assert!(damaged.is_damaged && damaged.damaged[0].words.contains("does not match its checksum"));
}

/// In the status, in the metrics, and in the log once; and what was acknowledged is there all the same.
#[test]
fn a_state_that_outgrows_the_grid_is_told() {
    let folder = Folder::new("grid-full");
    let (path, log) = (folder.file(), folder.path().join("log"));
    let layout = Layout { slot_count: 64, block_count: 8, block_size: 4096, ..LAYOUT };
    DataFile::create(&path, layout.size(), &Config::new(ClusterId(7), ReplicaId(0), 1, layout).format(1)).unwrap();
    let metrics = own_addresses(1)[0];
    // The file bears no name.
    let flags = ["--application", "kv", "--metrics", &metrics.to_string()];
    let mut replica = Replica::serve(&path, &flags, File::create(&log).unwrap());
    replica.until_it_serves();
    let address = replica.address();
    assert_eq!(scraped(metrics, "chronon_is_grid_full{"), 0);
    let kv = client::KvClient::connect(&[address], client::Options::default()).unwrap();
    let mut keys = 0_u8;
    // Two intervals between checkpoints, neither of which the state fits after the first few.
    while keys < 30 {
        kv.put(&[keys], &[keys; 16_000]).unwrap();
        keys += 1;
    }
    replica.until("it is full", |status| status.is_grid_full);
    assert_eq!(status::ask(address, PATIENCE).unwrap().checkpoint, 0);
    let began = Instant::now();
    while scraped(metrics, "chronon_is_grid_full{") == 0 {
        assert!(began.elapsed() < PATIENCE, "the metrics say so as well");
        std::thread::yield_now();
    }
    (0..keys).for_each(|key| assert_eq!(kv.get(&[key]).unwrap(), Some(vec![key; 16_000])));
    drop((kv, replica));
    let said = std::fs::read_to_string(&log).unwrap();
    let told = said.lines().filter(|line| line.contains("no room for a checkpoint")).collect::<Vec<_>>();
    assert!(told.len() == 1 && told[0].contains("WARN"), "{said}");
}

/// The first op that the journal can hold, and the ops from `first` to `last` whose slots were looked into.
fn prepares_since(path: &Path, first: u64, last: u64) -> (u64, Vec<u64>) {
    let file = DataFile::open_to_read(path).unwrap();
    let shape = look::shape(&file, look::Given::default()).unwrap();
    let mut ops = Vec::new();
    let held_from = look::prepares(&file, &shape, first..=last, &mut |prepare| ops.push(prepare.op));
    (held_from, ops)
}
