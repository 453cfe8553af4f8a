//! Disk and sockets of one process on one ring: one wait begins what both were asked for and sees both end, and neither is told what
//! became of the other's.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use chronon::{
    env::{DiskOperation, Network, VirtualDisk},
    frame::{Frame, SECTOR_SIZE},
    process::Token,
    types::{ClusterId, NodeId, ReplicaId},
};
use chronon_production::{
    DataFile, Disk, DiskChoice, DurableMode, HostDisk, TcpNetwork,
    tcp::{Limits, SocketChoice, Sockets, Speaker, TcpConfig},
};

const SECTORS: u64 = 64;
/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A disk over a file that nobody else finds, and a network on the disk's ring.
struct Host {
    network: TcpNetwork<Sockets>,
    disk: Disk,
}

impl Host {
    fn new(name: &str, replica: u8, replicas: &[SocketAddr], listener: TcpListener) -> Self {
        let file = format!("one-ring-{name}-{replica}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, SECTORS * SECTOR_SIZE as u64, &[]).unwrap();
        let file = DataFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (disk, _) = Disk::open(file, DiskChoice::Uring, DurableMode::DataSync).unwrap();
        let (sockets, why) = Sockets::open(SocketChoice::Auto, disk.ring()).unwrap();
        assert!(matches!(sockets, Sockets::Uring(_)) && why.is_none(), "{why:?}");
        let limits = Limits { frame_size_max: 64 * 1024, queue_bytes_max: 1 << 20 };
        let speaker = Speaker::Replica(ReplicaId(replica));
        // Nobody is given up here: a wait that should have ended is not ended by that.
        let (greeting_max, silence_max) = (10 * PATIENCE, 10 * PATIENCE);
        let usual = TcpConfig::new(ClusterId(7), speaker, replicas.to_vec(), limits);
        let config = TcpConfig { greeting_max, silence_max, ..usual };
        Self { network: TcpNetwork::over(sockets, config, Some(listener)).unwrap(), disk }
    }

    fn pair(name: &str) -> [Self; 2] {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let replicas = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let [first, second] = listeners;
        let mut pair = [Self::new(name, 0, &replicas, first), Self::new(name, 1, &replicas, second)];
        let began = Instant::now();
        while !(pair[0].network.is_connected(NodeId(1)) && pair[1].network.is_connected(NodeId(0))) {
            assert!(began.elapsed() < PATIENCE, "they find each other");
            pair.iter_mut().for_each(|host| host.network.wait(Duration::from_millis(1)).unwrap());
        }
        pair
    }
}

fn write(sector: u64, fill: u8, durable: bool) -> DiskOperation {
    let data = Frame::new(vec![fill; SECTOR_SIZE]);
    DiskOperation::Write { offset: sector * SECTOR_SIZE as u64, data, durable }
}

const fn read(sector: u64) -> DiskOperation {
    DiskOperation::Read { offset: sector * SECTOR_SIZE as u64, length: SECTOR_SIZE as u32 }
}

#[test]
fn waiting_for_the_network_begins_what_the_disk_was_asked_for_and_returns_when_it_ends() {
    let [mut host, _other] = Host::pair("wait");
    for round in 1..=20 {
        host.disk.submit(Token(round), write(0, round as u8, true));
        let began = Instant::now();
        let ended = loop {
            host.network.wait(PATIENCE).unwrap();
            if let Some(ended) = host.disk.poll() {
                break ended;
            }
        };
        assert!(ended.token == Token(round) && ended.result.is_ok() && began.elapsed() < PATIENCE);
        // What came for the disk while sockets were looked after is not slept over.
        host.disk.submit(Token(0), read(0));
        host.disk.flush().unwrap();
        let began = Instant::now();
        host.network.flush().unwrap();
        host.network.wait(PATIENCE).unwrap();
        while host.disk.poll().is_none() {
            host.network.wait(PATIENCE).unwrap();
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn frames_and_sectors_that_are_under_way_at_once_are_not_mixed_up() {
    let mut pair = Host::pair("mixed");
    let (mut sent, mut heard, mut written) = ([0_u32; 2], [0_u32; 2], [0_u64; 2]);
    let mut connections = 0;
    let began = Instant::now();
    while heard.iter().any(|count| *count < 2000) || written.iter().any(|count| *count < 2000) {
        assert!(began.elapsed() < PATIENCE, "heard {heard:?}, written {written:?}");
        for (number, host) in pair.iter_mut().enumerate() {
            let other = NodeId(1 - number as u32);
            for _ in 0..7 {
                // What is lost with a connection is lost.
                sent[number] += 1;
                host.network.send(other, Frame::new(vec![sent[number] as u8; 1 + 97 * sent[number] as usize % 20_000]));
            }
            for _ in 0..4 {
                let (sector, fill) = (written[number] % SECTORS, (written[number] / SECTORS) as u8);
                host.disk.submit(Token(2 * written[number]), write(sector, fill, written[number].is_multiple_of(5)));
                host.disk.submit(Token(2 * written[number] + 1), read(sector));
                written[number] += 1;
            }
            host.network.wait(Duration::from_micros(200)).unwrap();
            while let Some((from, frame)) = host.network.receive() {
                assert_eq!(from, other);
                assert!(frame.iter().all(|byte| *byte == frame[0]), "a frame is of one piece");
                heard[number] += 1;
            }
            while let Some(ended) = host.disk.poll() {
                let bytes = ended.result.expect("the disk works");
                let at = ended.token.0 / 2;
                let fill = if ended.token.0.is_multiple_of(2) { None } else { Some((at / SECTORS) as u8) };
                assert_eq!(bytes.first().copied(), fill, "a write brings nothing, a read what was written before it");
                assert!(bytes.iter().all(|byte| Some(*byte) == fill), "a sector is of one piece");
            }
        }
        // Now and then one gives up the connection with everything in flight.
        if heard[0] > 400 * (connections + 1) {
            connections += 1;
            pair[connections as usize % 2].network.blame(NodeId(1 - connections % 2));
        }
    }
    assert!(connections >= 3);
}

#[test]
fn a_network_whose_disk_is_gone_with_all_that_it_did_goes_on() {
    let [mut host, other] = Host::pair("gone");
    (0..20).for_each(|sector| host.disk.submit(Token(sector), write(sector, 1, true)));
    let Host { mut network, disk } = other;
    host.network.wait(Duration::ZERO).unwrap();
    drop(disk);
    let began = Instant::now();
    loop {
        network.send(NodeId(0), Frame::new(vec![1]));
        network.wait(Duration::from_millis(1)).unwrap();
        host.network.wait(Duration::from_millis(1)).unwrap();
        if host.network.receive().is_some() {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    // And the other way round.
    drop(host.network);
    let mut ended = 0;
    while ended < 20 {
        assert!(began.elapsed() < PATIENCE);
        host.disk.flush().unwrap();
        while let Some(completion) = host.disk.poll() {
            assert!(completion.result.is_ok());
            ended += 1;
        }
    }
}
