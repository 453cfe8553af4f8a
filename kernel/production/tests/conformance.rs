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
    DataFile, Disk, DiskChoice, DurableMode, HostDisk, SystemClock, TcpNetwork,
    tcp::{Limits, SocketChoice, Sockets, Speaker, TcpConfig},
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

/// A disk as a host drives it.
struct HostRig {
    scratch: Scratch,
    choice: DiskChoice,
    mode: DurableMode,
    disk: Option<Disk>,
}

impl HostRig {
    fn new(name: &str, choice: DiskChoice, mode: DurableMode) -> Self {
        let mut rig = Self { scratch: Scratch::new(name, DISK_CAPACITY_MIN), choice, mode, disk: None };
        rig.reopen();
        rig
    }
}

impl DiskRig for HostRig {
    fn disk(&mut self) -> &mut dyn VirtualDisk {
        self.disk.as_mut().expect("it is open")
    }

    fn capacity(&self) -> u64 {
        DISK_CAPACITY_MIN
    }

    fn wait(&mut self) {
        self.disk.as_mut().expect("it is open").flush().expect("the system takes what is submitted");
        sleep(Duration::from_micros(200));
    }

    fn reopen(&mut self) {
        // The lock goes with the disk.
        self.disk = None;
        let (disk, why) = Disk::open(self.scratch.open(), self.choice, self.mode).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(why, None, "the disk that is tested is the one that was chosen");
        self.disk = Some(disk);
    }
}

#[test]
fn the_sync_disk_keeps_the_contract() {
    check_disk(&mut HostRig::new("sync-disk", DiskChoice::Sync, DurableMode::DataSync));
}

#[test]
fn the_ring_keeps_the_contract_when_a_write_syncs_itself() {
    check_disk(&mut HostRig::new("data-sync", DiskChoice::Uring, DurableMode::DataSync));
}

#[test]
fn the_ring_keeps_the_contract_when_a_sync_is_linked_to_a_write() {
    check_disk(&mut HostRig::new("linked-sync", DiskChoice::Uring, DurableMode::LinkedSync));
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_sync_disk_refuses_half_a_sector() {
    submit_unaligned(&mut HostRig::new("sync-disk-unaligned", DiskChoice::Sync, DurableMode::DataSync));
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_ring_refuses_half_a_sector() {
    submit_unaligned(&mut HostRig::new("uring-unaligned", DiskChoice::Uring, DurableMode::DataSync));
}

/// Three replicas on loopback, all in this thread.
struct TcpRig(Vec<TcpNetwork<Sockets>>);

impl TcpRig {
    fn new(choice: SocketChoice) -> Self {
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let replicas: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        let network = |(replica, listener)| {
            let speaker = Speaker::Replica(ReplicaId(replica));
            let limits = Limits { frame_size_max: 1 << 20, queue_bytes_max: 4 << 20 };
            let config = TcpConfig::new(ClusterId(7), speaker, replicas.clone(), limits);
            let (sockets, why) = Sockets::open(choice, None).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(why, None, "the transport that is tested is the one that was chosen");
            TcpNetwork::over(sockets, config, Some(listener)).expect("a network")
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
fn the_network_over_tcp_keeps_the_contract_by_readiness() {
    check_network(&mut TcpRig::new(SocketChoice::Readiness));
}

#[test]
fn the_network_over_tcp_keeps_the_contract_on_a_ring() {
    check_network(&mut TcpRig::new(SocketChoice::Uring));
}
