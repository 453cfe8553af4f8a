//! What a runner sleeps through and what wakes it, with every kind of disk and sockets.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{self, Duration},
};

use chronon::{
    frame::{Frame, SECTOR_SIZE},
    process::{Actions, Event, Now, Process, Token},
    types::{Checksum, ClusterId, Instant, ReplicaId},
};
use chronon_production::{
    DataFile, Disk, DiskChoice, DurableMode, HostDisk, TcpNetwork,
    runner::{Runner, Stop},
    tcp::{Limits, SocketChoice, Sockets, Speaker, TcpConfig},
};

/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);
const ROUNDS: u64 = 10;
const PAUSE_NS: u64 = 5_000_000;

/// Writes and syncs in turn, one at a time, with a pause now and then; then halts.
#[derive(Clone)]
struct Worker {
    done: u64,
    deadline: Option<Instant>,
}

impl Worker {
    fn work(&self, actions: &mut Actions) {
        let token = Token(self.done);
        match self.done {
            done if done == 3 * ROUNDS => actions.halt("it is done".to_owned()),
            done if done.is_multiple_of(2) => actions.write(token, 0, Frame::new(vec![1; SECTOR_SIZE]), true),
            _ => actions.barrier(token),
        }
    }
}

impl Process for Worker {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => self.work(actions),
            Event::DiskCompletion(completion) => {
                assert!(completion.token == Token(self.done) && completion.result.is_ok(), "{completion:?}");
                self.done += 1;
                if self.done.is_multiple_of(3) {
                    self.deadline = Some(Instant(now.monotonic.0 + PAUSE_NS));
                } else {
                    self.work(actions);
                }
            }
            Event::Deadline => {
                assert!(Some(now.monotonic) >= self.deadline.take(), "not before its time");
                self.work(actions);
            }
            Event::Message { .. } => panic!("nobody is there to say anything"),
            Event::EffectOutcome(_) => panic!("nothing was ordered"),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// A runner of that process on a disk of one sector, as a replica alone in its cluster, and where it listens.
fn runner<P: Process>(
    name: &str,
    process: P,
    disk: DiskChoice,
    sockets: SocketChoice,
) -> (Runner<P, Disk, Sockets>, SocketAddr) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("runner-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    DataFile::create(&path, SECTOR_SIZE as u64, &[]).unwrap();
    let file = DataFile::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (disk, _) = Disk::open(file, disk, DurableMode::DataSync).unwrap();
    let (transport, _) = Sockets::open(sockets, disk.ring()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { frame_size_max: 1000, queue_bytes_max: 200_000 };
    let config = TcpConfig::new(ClusterId(7), Speaker::Replica(ReplicaId(0)), vec![address], limits);
    let network = TcpNetwork::over(transport, config, Some(listener)).unwrap();
    (Runner::new(process, network, disk).unwrap(), address)
}

#[test]
fn a_process_is_woken_by_its_disk_and_by_its_deadline_and_by_nothing_else() {
    let kinds = [
        (DiskChoice::Uring, SocketChoice::Auto),
        (DiskChoice::Uring, SocketChoice::Readiness),
        (DiskChoice::Sync, SocketChoice::Uring),
        (DiskChoice::Sync, SocketChoice::Readiness),
    ];
    for (number, (disk, sockets)) in (0..).zip(kinds) {
        let (mut runner, _) = runner(&format!("woken-{number}"), Worker { done: 0, deadline: None }, disk, sockets);
        let (began, mut turns) = (time::Instant::now(), 0);
        let stop = loop {
            turns += 1;
            assert!(began.elapsed() < PATIENCE, "{number}: it slept over something");
            if let Err(stop) = runner.turn(&mut (), PATIENCE) {
                break stop;
            }
        };
        assert!(matches!(&stop, Stop::Halted(reason) if reason == "it is done"), "{number}: {stop}");
        // One for each operation and each pause; what ends may be seen twice where it is told and then looked for.
        assert!(turns <= 2 * (3 + 1) * ROUNDS + 2, "{number}: {turns} turns");
    }
}

/// Takes its time over each frame, so that there is always another, and wants to hear what time it is every few milliseconds.
#[derive(Clone)]
struct Flooded {
    frames: u64,
    deadlines: u64,
    next: Option<Instant>,
}

impl Process for Flooded {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Message { .. } => {
                self.frames += 1;
                self.next = self.next.or(Some(Instant(now.monotonic.0 + PAUSE_NS)));
                let until = time::Instant::now() + Duration::from_micros(100);
                while time::Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            Event::Deadline => {
                self.deadlines += 1;
                self.next = Some(Instant(now.monotonic.0 + PAUSE_NS));
                if self.deadlines == ROUNDS {
                    actions.halt(format!("it heard {} frames", self.frames));
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

/// So many frames of a byte, sent as a client does before anybody takes them: they wait in the system's buffers.
fn flood(address: SocketAddr, frames: usize) -> TcpStream {
    let mut hello = [0; 32];
    hello[..8].copy_from_slice(b"CHRONON\x01");
    hello[8] = 1;
    hello[16..24].copy_from_slice(&7_u64.to_le_bytes());
    let checksum = Checksum::of(&hello[..24]).0 as u64;
    hello[24..].copy_from_slice(&checksum.to_le_bytes());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&hello).unwrap();
    stream.write_all(&[1, 0, 0, 0, 9].repeat(frames)).expect("there is room for them");
    stream
}

#[test]
fn a_process_hears_what_time_it_is_however_much_there_is_to_receive() {
    for sockets in [SocketChoice::Readiness, SocketChoice::Uring] {
        let process = Flooded { frames: 0, deadlines: 0, next: None };
        let (mut runner, address) = runner(&format!("flooded-{sockets:?}"), process, DiskChoice::Sync, sockets);
        // More than are taken in as many turns as it hears of deadlines, and a few: there is always another.
        let _stream = flood(address, 9_000);
        let began = time::Instant::now();
        let halted = loop {
            assert!(began.elapsed() < PATIENCE, "it has heard the time {} times", runner.process().deadlines);
            if let Err(halted) = runner.turn(&mut (), Duration::from_millis(1)) {
                break halted;
            }
        };
        // It had no moment without a frame: a turn takes hundreds of them.
        assert!(runner.process().frames > 200 * (ROUNDS - 1), "{halted}");
    }
}
