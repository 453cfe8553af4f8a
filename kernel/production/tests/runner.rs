//! What a runner sleeps through and what wakes it, with every kind of disk and sockets.

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{self, Duration},
};

use chronon::{
    frame::{Frame, SECTOR_SIZE},
    process::{Actions, Event, Now, Process, Token},
    types::{ClusterId, Instant, ReplicaId},
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

#[test]
fn a_process_is_woken_by_its_disk_and_by_its_deadline_and_by_nothing_else() {
    let kinds = [
        (DiskChoice::Uring, SocketChoice::Auto),
        (DiskChoice::Uring, SocketChoice::Readiness),
        (DiskChoice::Sync, SocketChoice::Uring),
        (DiskChoice::Sync, SocketChoice::Readiness),
    ];
    for (number, (disk, sockets)) in (0..).zip(kinds) {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("runner-{number}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, SECTOR_SIZE as u64, &[]).unwrap();
        let file = DataFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (disk, _) = Disk::open(file, disk, DurableMode::DataSync).unwrap();
        let (transport, _) = Sockets::open(sockets, disk.ring()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = Limits { frame_size_max: 1000, queue_bytes_max: 10_000 };
        let addresses = vec![listener.local_addr().unwrap()];
        let config = TcpConfig::new(ClusterId(7), Speaker::Replica(ReplicaId(0)), addresses, limits);
        let network = TcpNetwork::over(transport, config, Some(listener)).unwrap();
        let mut runner = Runner::new(Worker { done: 0, deadline: None }, network, disk).unwrap();
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
