//! The simulated disk against a naive model that knows histories and nothing else: for random scripts of operations, what
//! reads and power cuts show is always among what the model allows, and everything that the model allows does happen.

use std::collections::BTreeSet;

use chronon::{
    env::DiskOperation,
    frame::{Frame, SECTOR_SIZE},
    process::{DiskError, Token},
};
use chronon_sim::{
    disk::{Completed, DiskSettings, Durable, SimDisk},
    rng::Stream,
};

const SECTOR: u64 = SECTOR_SIZE as u64;
const SECTORS: u64 = 3;
const SCRIPTS: u64 = 250;
const SEEDS: u64 = 150;

/// One step of a script. Operations are named by their place among the operations begun.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write {
        sector: u64,
        sectors: u64,
        durable: bool,
    },
    Barrier,
    /// Ends an operation in flight, by its place among them; well or in failure.
    End {
        place: u64,
        fails: bool,
    },
    KillProcess,
}

fn script(seed: u64) -> Vec<Step> {
    let mut stream = Stream::new(seed, "script", 0, 0);
    let length = stream.range(3, 12);
    let failures = stream.below(3) == 0;
    let kills = stream.below(3) == 0;
    // How many in four operations the process waits for at once.
    let patience = stream.below(4);
    let mut steps = Vec::new();
    for _ in 0..length {
        let fails = failures && stream.below(3) == 0;
        match stream.below(20) {
            0..7 => {
                let sectors = stream.range(1, 2);
                let sector = stream.below(SECTORS - sectors + 1);
                steps.push(Step::Write { sector, sectors, durable: stream.below(3) == 0 });
            }
            7..11 => steps.push(Step::Barrier),
            11 if kills => {
                steps.push(Step::KillProcess);
                continue;
            }
            _ => {
                steps.push(Step::End { place: stream.below(8), fails });
                continue;
            }
        }
        if stream.below(4) < patience {
            steps.push(Step::End { place: 0, fails });
        }
    }
    steps
}

/// What is known of a write for certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    InFlight,
    /// Completed; no barrier that covers it has ended.
    Open,
    Durable,
    /// It failed, or the first barrier that covered it did, or it was in flight when the process died.
    Doubtful,
}

/// A write as the model remembers it. Times count steps.
#[derive(Clone, Debug)]
struct Write {
    fill: u8,
    sector: u64,
    sectors: u64,
    durable: bool,
    submitted: u64,
    ended: u64,
    fate: Fate,
}

/// The history of a script: every write that was ever begun. Write 0 is the empty disk.
struct Model {
    writes: Vec<Write>,
    now: u64,
    /// How often a barrier said success over a write that an earlier one had left in doubt.
    lies: u64,
}

impl Model {
    fn new() -> Self {
        let empty =
            Write { fill: 0, sector: 0, sectors: SECTORS, durable: true, submitted: 0, ended: 0, fate: Fate::Durable };
        Self { writes: vec![empty], now: 0, lies: 0 }
    }

    fn begin(&mut self, sector: u64, sectors: u64, durable: bool) -> usize {
        let (fill, submitted) = (self.writes.len() as u8, self.now);
        self.writes.push(Write { fill, sector, sectors, durable, submitted, ended: u64::MAX, fate: Fate::InFlight });
        usize::from(fill)
    }

    fn end(&mut self, write: usize, failed: bool) {
        let write = &mut self.writes[write];
        write.ended = self.now;
        write.fate = match (failed, write.durable) {
            (true, _) => Fate::Doubtful,
            (false, true) => Fate::Durable,
            (false, false) => Fate::Open,
        };
    }

    fn end_barrier(&mut self, submitted: u64, failed: bool) {
        for write in &mut self.writes {
            if write.fate == Fate::Doubtful && write.ended <= submitted && !failed {
                self.lies += 1;
            }
            if write.fate == Fate::Open && write.ended <= submitted {
                write.fate = if failed { Fate::Doubtful } else { Fate::Durable };
            }
        }
    }

    fn kill_process(&mut self) {
        for write in &mut self.writes {
            if write.fate == Fate::InFlight {
                write.ended = self.now;
                write.fate = Fate::Doubtful;
            }
        }
    }

    /// The fills that `sector` may hold: those of writes that no write with a fate of `settled` surely followed.
    fn possible(&self, sector: u64, settled: &[Fate]) -> BTreeSet<u8> {
        let here = |write: &&Write| (write.sector..write.sector + write.sectors).contains(&sector);
        let followed = |write: &Write| {
            let mut later = self.writes.iter().filter(here).filter(|later| settled.contains(&later.fate));
            later.any(|later| later.fill != write.fill && later.submitted >= write.ended)
        };
        self.writes.iter().filter(here).filter(|write| !followed(write)).map(|write| write.fill).collect()
    }

    fn after_a_power_cut(&self, sector: u64) -> BTreeSet<u8> {
        self.possible(sector, &[Fate::Durable])
    }

    fn readable(&self, sector: u64) -> BTreeSet<u8> {
        self.possible(sector, &[Fate::Durable, Fate::Open])
    }
}

/// A real disk and the model, led through the same script.
struct Run {
    disk: SimDisk,
    model: Model,
    /// Operations in flight: the disk's number, and the write's place in the model, or when the barrier was submitted.
    flights: Vec<(u32, Result<usize, u64>)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let settings = DiskSettings { capacity: SECTORS * SECTOR, ..DiskSettings::default() };
        Self { disk: SimDisk::new(seed, 0, settings), model: Model::new(), flights: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        self.model.now += 1;
        let now = self.model.now;
        match step {
            Step::Write { sector, sectors, durable } => {
                let write = self.model.begin(sector, sectors, durable);
                let data = Frame::new(vec![write as u8; (sectors * SECTOR) as usize]);
                let operation = DiskOperation::Write { offset: sector * SECTOR, data, durable };
                self.flights.push((self.disk.submit(now, Token(0), operation).1, Ok(write)));
            }
            Step::Barrier => {
                self.flights.push((self.disk.submit(now, Token(0), DiskOperation::Barrier).1, Err(now)));
            }
            Step::End { place, fails } => {
                if self.flights.is_empty() {
                    return;
                }
                let newest = self.flights.len() - 1;
                let (id, what) = self.flights.remove(newest - place as usize % (newest + 1));
                match what {
                    Ok(write) => {
                        if fails {
                            self.disk.fail_next_write();
                        }
                        assert_eq!(result(self.disk.complete(now, id)).err(), fails.then_some(DiskError::Write));
                        self.model.end(write, fails);
                    }
                    Err(submitted) => {
                        if fails {
                            self.disk.fail_next_barrier();
                        }
                        assert_eq!(result(self.disk.complete(now, id)).err(), fails.then_some(DiskError::Barrier));
                        self.model.end_barrier(submitted, fails);
                    }
                }
            }
            Step::KillProcess => {
                self.disk.kill_process();
                self.model.kill_process();
                self.flights.clear();
            }
        }
    }

    fn read(&mut self, sector: u64) -> Frame {
        let operation = DiskOperation::Read { offset: sector * SECTOR, length: SECTOR as u32 };
        let (_, id) = self.disk.submit(self.model.now, Token(0), operation);
        result(self.disk.complete(self.model.now, id)).expect("nothing makes this read fail")
    }
}

fn result(completed: Completed) -> Result<Frame, DiskError> {
    match completed {
        Completed::Done(completion) => completion.result,
        other => panic!("the operation was due: {other:?}"),
    }
}

#[test]
fn reads_and_power_cuts_show_what_the_model_allows_and_all_of_it() {
    for number in 0..SCRIPTS {
        let script = script(number);
        let mut seen: Vec<BTreeSet<u8>> = vec![BTreeSet::new(); SECTORS as usize];
        let mut allowed = Vec::new();
        for seed in 0..SEEDS {
            let mut run = Run::new(seed);
            let place = |step: usize| format!("script {number} {:?}, step {step}, seed {seed}", &script[..step]);
            for (at, step) in script.iter().enumerate() {
                run.step(*step);
                if seed % 5 == 0 {
                    check_reads(&mut run, &place(at + 1));
                }
            }
            allowed = (0..SECTORS).map(|sector| run.model.after_a_power_cut(sector)).collect();
            let certain = check_certainty(&run, &allowed, &place(script.len()));
            run.disk.cut_power();
            for sector in 0..SECTORS {
                let left = run.read(sector);
                let allowed = &allowed[sector as usize];
                let at = place(script.len());
                assert!(fills(&left).is_subset(allowed), "{at}: {sector} holds other than {allowed:?}");
                assert!(certain[sector as usize].as_ref().is_none_or(|bytes| **bytes == *left), "{at}: was certain");
                assert_eq!(run.disk.durable_sector(sector), Durable::Stable(left[..].into()), "{at}");
                if left.iter().all(|byte| *byte == left[0]) {
                    seen[sector as usize].insert(left[0]);
                }
            }
        }
        assert_eq!(seen, allowed, "script {number} {script:?}: all that may be left is left by some seed");
    }
}

/// The fills that a sector is mixed from.
fn fills(sector: &[u8]) -> BTreeSet<u8> {
    let found = sector.iter().fold(0u32, |found, byte| found | 1 << byte);
    (0..32).filter(|fill| found >> fill & 1 == 1).collect()
}

/// Reads show, byte by byte, only what the model allows.
fn check_reads(run: &mut Run, place: &str) {
    for sector in 0..SECTORS {
        let allowed = run.model.readable(sector);
        let read = run.read(sector);
        assert!(fills(&read).is_subset(&allowed), "{place}: a read of {sector} shows other than {allowed:?}");
    }
}

/// The durable truth is told exactly where there is one: the certain content of each sector.
fn check_certainty(run: &Run, allowed: &[BTreeSet<u8>], place: &str) -> Vec<Option<Vec<u8>>> {
    let certain: Vec<_> = (0..SECTORS)
        .map(|sector| match run.disk.durable_sector(sector) {
            Durable::Stable(bytes) => Some(bytes.to_vec()),
            Durable::Uncertain => None,
            Durable::Damaged => panic!("{place}: nothing was damaged"),
        })
        .collect();
    for (allowed, certain) in allowed.iter().zip(&certain) {
        assert!(allowed.len() > 1 || certain.is_some(), "{place}: only {allowed:?} may be left, hence it is certain");
    }
    certain
}

#[test]
fn the_scripts_reach_what_they_are_for() {
    let mut sizes = BTreeSet::new();
    let (mut doubtful, mut durable_by_barrier, mut overlapping, mut lies) = (0, 0, 0, 0);
    for number in 0..SCRIPTS {
        let mut run = Run::new(0);
        for step in script(number) {
            run.step(step);
        }
        sizes.extend((0..SECTORS).map(|sector| run.model.after_a_power_cut(sector).len()));
        lies += run.model.lies;
        let writes = &run.model.writes[1..];
        doubtful += writes.iter().filter(|write| write.fate == Fate::Doubtful).count();
        durable_by_barrier += writes.iter().filter(|write| write.fate == Fate::Durable && !write.durable).count();
        overlapping +=
            writes.iter().filter(|write| write.fate == Fate::Open && write.submitted + 1 < write.ended).count();
    }
    assert!(sizes.is_superset(&(1..=5).collect()), "{sizes:?}");
    let reached = [doubtful, durable_by_barrier, overlapping, lies as usize];
    assert!(reached.iter().all(|count| *count > 20), "{reached:?}");
}
