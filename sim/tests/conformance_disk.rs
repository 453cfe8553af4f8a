//! The conformance suite for disks against the simulated disk by itself, and against broken ones, which it must refuse.

use std::collections::{BTreeMap, VecDeque};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::Frame,
    process::{Completion, Token},
};
use chronon_sim::{
    conformance::{DISK_CAPACITY_MIN, DiskRig, check_disk, submit_unaligned},
    disk::{Completed, DiskSettings, SimDisk},
};

/// The simulated disk, with virtual time that passes when it is waited for; whole, or broken in one way.
struct DiskUnderTest {
    disk: SimDisk,
    now_ns: u64,
    due: BTreeMap<(u64, u32), ()>,
    ended: VecDeque<Completion>,
    flaw: Option<DiskFlaw>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DiskFlaw {
    WritesAreNotDurable,
    BarriersDoNothing,
    CompletesTwice,
    ForgetsEveryTenth,
    SwapsTokens,
    OutlivesItsProcess,
    ReadsShort,
    IgnoresAlignment,
    LosesTheEndOfLargeWrites,
}

impl DiskUnderTest {
    fn new(seed: u64, flaw: Option<DiskFlaw>) -> Self {
        let settings = DiskSettings { capacity: DISK_CAPACITY_MIN, ..DiskSettings::default() };
        let disk = SimDisk::new(seed, 0, settings);
        Self { disk, now_ns: 0, due: BTreeMap::new(), ended: VecDeque::new(), flaw }
    }

    fn is(&self, flaw: DiskFlaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl VirtualDisk for DiskUnderTest {
    fn submit(&mut self, token: Token, mut operation: DiskOperation) {
        match &mut operation {
            DiskOperation::Write { durable, .. } if self.is(DiskFlaw::WritesAreNotDurable) => *durable = false,
            DiskOperation::Write { data, .. } if self.is(DiskFlaw::LosesTheEndOfLargeWrites) => {
                *data = data.slice(0, data.len().min(1 << 20));
            }
            DiskOperation::Barrier if self.is(DiskFlaw::BarriersDoNothing) => {
                self.ended.push_back(Completion { token, result: Ok(Frame::default()) });
                return;
            }
            DiskOperation::Read { offset, .. } if self.is(DiskFlaw::IgnoresAlignment) => *offset &= !4095,
            _ => {}
        }
        let (at_ns, id) = self.disk.submit(self.now_ns, token, operation);
        self.due.insert((at_ns, id), ());
    }

    fn poll(&mut self) -> Option<Completion> {
        if self.is(DiskFlaw::SwapsTokens) && self.ended.len() > 1 {
            let token = self.ended[0].token;
            self.ended[0].token = self.ended[1].token;
            self.ended[1].token = token;
        }
        self.ended.pop_front()
    }
}

impl DiskRig for DiskUnderTest {
    fn disk(&mut self) -> &mut dyn VirtualDisk {
        self
    }

    fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    fn wait(&mut self) {
        // A handful at a time, so that there is an order to see.
        for _ in 0..3 {
            let Some(((at_ns, id), ())) = self.due.pop_first() else { return };
            self.now_ns = at_ns;
            let Completed::Done(mut completion) = self.disk.complete(at_ns, id) else { continue };
            if self.is(DiskFlaw::ForgetsEveryTenth) && id % 10 == 9 {
                continue;
            }
            if self.is(DiskFlaw::ReadsShort) {
                completion.result = completion.result.map(|frame| frame.slice(0, frame.len().min(2 * 4096)));
            }
            if self.is(DiskFlaw::CompletesTwice) && id % 10 == 9 {
                self.ended.push_back(completion.clone());
            }
            self.ended.push_back(completion);
        }
    }

    fn reopen(&mut self) {
        if !self.is(DiskFlaw::OutlivesItsProcess) {
            self.disk.crash();
            self.ended.clear();
            self.due.clear();
        }
    }
}

#[test]
fn the_simulated_disk_conforms() {
    for seed in 0..10 {
        check_disk(&mut DiskUnderTest::new(seed, None));
    }
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_simulated_disk_refuses_what_is_not_aligned() {
    submit_unaligned(&mut DiskUnderTest::new(1, None));
}

#[test]
fn a_disk_that_takes_anything_is_told_from_one_that_checks() {
    submit_unaligned(&mut DiskUnderTest::new(1, Some(DiskFlaw::IgnoresAlignment)));
}

/// One test for each flaw: the suite refuses it in these words.
macro_rules! refused {
    ($($name:ident: $make:expr => $words:literal;)*) => {
        $(#[test]
        #[should_panic(expected = $words)]
        fn $name() {
            $make;
        })*
    };
}

refused! {
    a_disk_whose_durable_writes_are_not_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::WritesAreNotDurable))) => "was written";
    a_disk_whose_barriers_do_nothing_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::BarriersDoNothing))) => "was written";
    a_disk_that_completes_twice_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::CompletesTwice))) => "the disk completed";
    a_disk_that_forgets_an_operation_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::ForgetsEveryTenth))) => "never completed";
    a_disk_that_swaps_tokens_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::SwapsTokens))) => "brings back";
    a_disk_that_answers_a_later_life_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::OutlivesItsProcess))) => "the disk completed";
    a_disk_that_reads_short_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::ReadsShort))) => "as many bytes";
    a_disk_that_writes_short_is_refused:
        check_disk(&mut DiskUnderTest::new(1, Some(DiskFlaw::LosesTheEndOfLargeWrites))) => "does not read back";
}
