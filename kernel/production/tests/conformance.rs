//! The conformance suites against the real clock and the real disks: the same that the simulated ones are held to.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use chronon::{
    env::{Clock, Network, VirtualDisk},
    types::{ClusterId, NodeId, ReplicaId},
};
use chronon_production::{
    DataFile, SyncDisk, SystemClock, TcpNetwork,
    tcp::{Limits, Speaker, TcpConfig},
};
use chronon_sim::conformance::{
    ClockRig, DISK_CAPACITY_MIN, DiskRig, NetworkRig, check_clock, check_disk, check_network, submit_unaligned,
};

struct Clocks(SystemClock);

impl ClockRig for Clocks {
    fn clock(&mut self) -> &mut dyn Clock {
        &mut self.0
    }

    fn pass(&mut self, duration_ns: u64) {
        sleep(Duration::from_nanos(duration_ns));
    }
}

#[test]
fn the_systems_clocks_keep_the_contract() {
    check_clock(&mut Clocks(SystemClock));
}

/// A data file in the build's own folder, which is on a real file system; gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, size: u64) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, size, &[]).expect("there is room for a data file");
        Self(path)
    }

    fn open(&self) -> DataFile {
        DataFile::open(&self.0).expect("nobody else has it open")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct SyncRig {
    scratch: Scratch,
    disk: Option<SyncDisk>,
}

impl SyncRig {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name, DISK_CAPACITY_MIN);
        let disk = Some(SyncDisk::new(scratch.open()).expect("a thread"));
        Self { scratch, disk }
    }
}

impl DiskRig for SyncRig {
    fn disk(&mut self) -> &mut dyn VirtualDisk {
        self.disk.as_mut().expect("it is open")
    }

    fn capacity(&self) -> u64 {
        DISK_CAPACITY_MIN
    }

    fn wait(&mut self) {
        sleep(Duration::from_micros(200));
    }

    fn reopen(&mut self) {
        // The lock goes with the disk.
        self.disk = None;
        self.disk = Some(SyncDisk::new(self.scratch.open()).expect("a thread"));
    }
}

#[test]
fn the_sync_disk_keeps_the_contract() {
    check_disk(&mut SyncRig::new("sync-disk"));
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_sync_disk_refuses_half_a_sector() {
    submit_unaligned(&mut SyncRig::new("sync-disk-unaligned"));
}

/// Three replicas on loopback, all in this thread.
struct TcpRig(Vec<TcpNetwork>);

impl TcpRig {
    fn new() -> Self {
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let replicas: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        let network = |(replica, listener)| {
            let speaker = Speaker::Replica(ReplicaId(replica));
            let limits = Limits { frame_size_max: 1 << 20, queue_bytes_max: 4 << 20 };
            let config = TcpConfig::new(ClusterId(7), speaker, replicas.clone(), limits);
            TcpNetwork::new(config, Some(listener)).expect("a network")
        };
        Self((0..).zip(listeners).map(network).collect())
    }
}

impl NetworkRig for TcpRig {
    fn nodes(&self) -> u32 {
        self.0.len() as u32
    }

    fn network(&mut self, node: NodeId) -> &mut dyn Network {
        &mut self.0[node.0 as usize]
    }

    fn wait(&mut self) {
        for network in &mut self.0 {
            network.wait(Duration::from_micros(50)).expect("the sockets are watched");
        }
    }
}

#[test]
fn the_network_over_tcp_keeps_the_contract() {
    check_network(&mut TcpRig::new());
}
