//! What a process may rely on in its disk, as far as it shows without cutting the power.
//!
//! Each check works on an area of the disk of its own, so that one disk serves all of them.

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::{Frame, SECTOR_SIZE},
    process::{Completion, DiskError, Token},
};

use super::WAITS_MAX;

const SECTOR: u64 = SECTOR_SIZE as u64;

/// The sectors that each check has to itself.
const AREA: u64 = 1024;

/// The checks, by their areas.
const CHECKS: [fn(&mut Tester<'_>); 13] = [
    an_idle_disk_says_nothing,
    what_was_never_written_reads_as_zeros,
    a_completed_write_is_visible,
    every_operation_completes_once_under_its_token,
    a_frame_may_lie_anywhere_in_memory,
    a_write_is_filled_up_with_zeros,
    large_operations_are_whole,
    the_last_sector_is_a_sector,
    a_write_follows_those_that_completed_before_it,
    overlapping_writes_in_flight_leave_one_of_them,
    a_durable_write_outlives_the_process,
    a_barrier_makes_the_writes_before_it_outlive_the_process,
    no_completion_reaches_a_later_life,
];

/// The capacity that [`check_disk`] needs, in bytes.
pub const DISK_CAPACITY_MIN: u64 = CHECKS.len() as u64 * AREA * SECTOR;

/// A disk under test: sound, all zeros, with at least [`DISK_CAPACITY_MIN`] bytes.
pub trait DiskRig {
    /// The disk.
    fn disk(&mut self) -> &mut dyn VirtualDisk;

    /// The disk's capacity in bytes.
    fn capacity(&self) -> u64;

    /// Lets a short time pass: long enough for an operation to move on.
    fn wait(&mut self);

    /// The process dies without a word, whatever is in flight, and another opens the same disk.
    fn reopen(&mut self);
}

/// Checks the contract of [`VirtualDisk`].
///
/// # Panics
/// If a promise is broken; the message says which.
pub fn check_disk(rig: &mut dyn DiskRig) {
    assert!(rig.capacity() >= DISK_CAPACITY_MIN, "the suite needs {DISK_CAPACITY_MIN} bytes");
    for (place, check) in CHECKS.iter().enumerate() {
        let mut tester = Tester { rig: &mut *rig, area: place as u64 * AREA, tokens: 0, early: Vec::new() };
        check(&mut tester);
        tester.expect_silence("after everything completed");
    }
}

/// Submits what no process may: half a sector. For a test that expects the panic.
pub fn submit_unaligned(rig: &mut dyn DiskRig) {
    rig.disk().submit(Token(0), DiskOperation::Read { offset: SECTOR / 2, length: SECTOR_SIZE as u32 });
}

fn an_idle_disk_says_nothing(tester: &mut Tester<'_>) {
    tester.expect_silence("before anything was submitted");
}

fn what_was_never_written_reads_as_zeros(tester: &mut Tester<'_>) {
    for (sector, sectors) in [(0, 1), (1, 4), (AREA - 256, 256)] {
        let frame = tester.read(sector, sectors);
        assert!(frame.iter().all(|byte| *byte == 0), "{sectors} sectors that were never written do not read as zeros");
    }
}

fn a_completed_write_is_visible(tester: &mut Tester<'_>) {
    for (sector, durable) in [(0, false), (1, true), (0, true), (1, false)] {
        let fill = tester.next_fill();
        tester.write(sector, 1, fill, durable);
        tester.expect(sector, &[fill]);
    }
    tester.write(10, 1, 10, true);
    tester.write(12, 2, 12, false);
    tester.expect(9, &[0, 10, 0, 12, 12, 0]);
    tester.write(11, 2, 11, false);
    tester.expect(9, &[0, 10, 11, 11, 12, 0]);
}

fn every_operation_completes_once_under_its_token(tester: &mut Tester<'_>) {
    let mut tokens = Vec::new();
    for place in 0..64 {
        let write = tester.write_operation(place, 1, place as u8 + 1, place % 2 == 0);
        tokens.push((tester.submit(write), 0));
        let read = tester.read_operation(512 + place, 1 + place % 3);
        tokens.push((tester.submit(read), (1 + place % 3) * SECTOR));
        if place % 8 == 0 {
            tokens.push((tester.submit(DiskOperation::Barrier), 0));
        }
    }
    // The newest first: completions of the others come meanwhile, in any order.
    for (token, length) in tokens.into_iter().rev() {
        let frame = tester.finish(token).expect("a sound disk fails no operation");
        assert_eq!(frame.len() as u64, length, "a completion brings back what was read, or nothing");
    }
    for place in 0..64 {
        tester.expect(place, &[place as u8 + 1]);
    }
}

fn a_frame_may_lie_anywhere_in_memory(tester: &mut Tester<'_>) {
    for (sector, start) in [1, 7, 512, 4095].into_iter().enumerate() {
        let sector = 4 * sector as u64;
        let mut bytes = vec![0xee; start];
        bytes.extend([[1; SECTOR_SIZE], [2; SECTOR_SIZE]].concat());
        bytes.extend([0xdd; 100]);
        let data = Frame::new(bytes).slice(start, start + 2 * SECTOR_SIZE);
        let offset = tester.offset(sector);
        let token = tester.submit(DiskOperation::Write { offset, data, durable: true });
        tester.finish(token).expect("a sound disk fails no operation");
        tester.expect(sector, &[1, 2, 0]);
    }
}

fn a_write_is_filled_up_with_zeros(tester: &mut Tester<'_>) {
    for (sector, length) in [(0, 1), (4, SECTOR_SIZE - 1), (8, SECTOR_SIZE + 1)] {
        tester.write(sector, 3, 7, true);
        let (offset, data) = (tester.offset(sector), Frame::new(vec![9; length]));
        let token = tester.submit(DiskOperation::Write { offset, data, durable: true });
        tester.finish(token).expect("a sound disk fails no operation");
        let read = tester.read(sector, 3);
        let filled = length.next_multiple_of(SECTOR_SIZE);
        let parts = [(0..length, 9), (length..filled, 0), (filled..3 * SECTOR_SIZE, 7)];
        let same = parts.into_iter().all(|(part, fill)| read[part].iter().all(|byte| *byte == fill));
        assert!(same, "a write of {length} bytes is not followed by zeros up to its last sector's end, and no further");
    }
}

fn large_operations_are_whole(tester: &mut Tester<'_>) {
    let sectors = 512;
    let data: Vec<u8> = (0..sectors * SECTOR).map(|place| (place / 97) as u8).collect();
    for durable in [false, true] {
        let offset = tester.offset(u64::from(durable) * sectors);
        let token = tester.submit(DiskOperation::Write { offset, data: Frame::new(data.clone()), durable });
        tester.finish(token).expect("a sound disk fails no operation");
        let read = tester.read(u64::from(durable) * sectors, sectors);
        assert!(*read == *data, "a write of {} bytes does not read back", data.len());
    }
}

fn the_last_sector_is_a_sector(tester: &mut Tester<'_>) {
    let offset = tester.rig.capacity() / SECTOR * SECTOR - SECTOR;
    let data = Frame::new(vec![9; SECTOR_SIZE]);
    let token = tester.submit(DiskOperation::Write { offset, data: data.clone(), durable: true });
    tester.finish(token).expect("a sound disk fails no operation");
    let token = tester.submit(DiskOperation::Read { offset, length: SECTOR_SIZE as u32 });
    assert_eq!(tester.finish(token), Ok(data), "the last sector does not read back");
}

fn a_write_follows_those_that_completed_before_it(tester: &mut Tester<'_>) {
    for round in 0..100u8 {
        let sector = u64::from(round) % 3;
        tester.write(sector, 2, round.wrapping_mul(2), round % 2 == 0);
        tester.write(sector, 1, round.wrapping_mul(2) + 1, round % 3 == 0);
        tester.expect(sector, &[round.wrapping_mul(2) + 1, round.wrapping_mul(2)]);
    }
}

fn overlapping_writes_in_flight_leave_one_of_them(tester: &mut Tester<'_>) {
    for round in 0..32 {
        let sector = round * 4;
        let tokens = [1, 2, 3].map(|fill| {
            let write = tester.write_operation(sector, 2, fill, (round + u64::from(fill)) % 2 == 0);
            tester.submit(write)
        });
        for token in tokens {
            tester.finish(token).expect("a sound disk fails no operation");
        }
        let seen = tester.read(sector, 2);
        for sector in seen.chunks(SECTOR_SIZE) {
            assert!(
                (1..=3).contains(&sector[0]) && sector.iter().all(|byte| *byte == sector[0]),
                "a sector mixes writes that have all completed"
            );
        }
        assert_eq!(tester.read(sector, 2), seen, "what was written settles once all writes completed");
    }
}

fn a_durable_write_outlives_the_process(tester: &mut Tester<'_>) {
    for round in 0..20 {
        let fill = round as u8 + 1;
        tester.write(2 * round, 2, fill, true);
        // Another write, in flight when the process dies, may be there or not, and harms no neighbour.
        let write = tester.write_operation(500 + round, 1, fill, round % 2 == 0);
        tester.submit(write);
        tester.reopen();
        for earlier in 0..=round {
            let fill = earlier as u8 + 1;
            tester.expect(2 * earlier, &[fill, fill]);
        }
    }
}

fn a_barrier_makes_the_writes_before_it_outlive_the_process(tester: &mut Tester<'_>) {
    for batch in 0..10 {
        let tokens: Vec<_> = (0..50)
            .map(|place| {
                let write = tester.write_operation(batch * 50 + place, 1, batch as u8 + 1, false);
                tester.submit(write)
            })
            .collect();
        for token in tokens {
            tester.finish(token).expect("a sound disk fails no operation");
        }
        let barrier = tester.submit(DiskOperation::Barrier);
        tester.finish(barrier).expect("a sound disk fails no barrier");
        tester.reopen();
        for earlier in 0..=batch {
            tester.expect(earlier * 50, &[earlier as u8 + 1; 50]);
        }
    }
}

fn no_completion_reaches_a_later_life(tester: &mut Tester<'_>) {
    for _ in 0..10 {
        for place in 0..8 {
            let write = tester.write_operation(place, 1, 1, true);
            tester.submit(write);
            let read = tester.read_operation(place, 1);
            tester.submit(read);
        }
        tester.submit(DiskOperation::Barrier);
        tester.reopen();
        tester.expect_silence("in a life that submitted nothing");
        let fill = tester.next_fill();
        tester.write(100, 1, fill, false);
        tester.expect(100, &[fill]);
    }
}

/// A process's view of the disk, with operations named and waited for.
struct Tester<'a> {
    rig: &'a mut dyn DiskRig,
    /// The first sector of this check's area.
    area: u64,
    tokens: u64,
    /// Completions that came before they were waited for.
    early: Vec<Completion>,
}

impl Tester<'_> {
    fn offset(&self, sector: u64) -> u64 {
        (self.area + sector) * SECTOR
    }

    fn next_fill(&self) -> u8 {
        (self.tokens % 255) as u8 + 1
    }

    fn write_operation(&self, sector: u64, sectors: u64, fill: u8, durable: bool) -> DiskOperation {
        let data = Frame::new(vec![fill; (sectors * SECTOR) as usize]);
        DiskOperation::Write { offset: self.offset(sector), data, durable }
    }

    fn read_operation(&self, sector: u64, sectors: u64) -> DiskOperation {
        DiskOperation::Read { offset: self.offset(sector), length: (sectors * SECTOR) as u32 }
    }

    fn submit(&mut self, operation: DiskOperation) -> Token {
        // Tokens that are neither small nor in order: they are the process's own and mean nothing to a disk.
        let token = Token((self.area << 32 | self.tokens).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.tokens += 1;
        self.rig.disk().submit(token, operation);
        token
    }

    /// Waits for the operation of this token.
    fn finish(&mut self, token: Token) -> Result<Frame, DiskError> {
        if let Some(place) = self.early.iter().position(|completion| completion.token == token) {
            return self.early.swap_remove(place).result;
        }
        for _ in 0..WAITS_MAX {
            while let Some(completion) = self.rig.disk().poll() {
                if completion.token == token {
                    return completion.result;
                }
                self.early.push(completion);
            }
            self.rig.wait();
        }
        panic!("an operation never completed");
    }

    fn write(&mut self, sector: u64, sectors: u64, fill: u8, durable: bool) {
        let write = self.write_operation(sector, sectors, fill, durable);
        let token = self.submit(write);
        assert_eq!(self.finish(token), Ok(Frame::default()), "a sound disk fails no write, and brings nothing back");
    }

    fn read(&mut self, sector: u64, sectors: u64) -> Frame {
        let read = self.read_operation(sector, sectors);
        let token = self.submit(read);
        let frame = self.finish(token).expect("a sound disk fails no read");
        assert_eq!(frame.len() as u64, sectors * SECTOR, "a read brings back as many bytes as were asked for");
        frame
    }

    /// Reads sectors and expects each to be filled with one byte.
    fn expect(&mut self, sector: u64, fills: &[u8]) {
        let frame = self.read(sector, fills.len() as u64);
        for (place, (bytes, fill)) in frame.chunks(SECTOR_SIZE).zip(fills).enumerate() {
            assert!(
                bytes.iter().all(|byte| byte == fill),
                "sector {place} of {} holds {} where {fill} was written",
                fills.len(),
                bytes.iter().find(|byte| *byte != fill).unwrap_or(fill)
            );
        }
    }

    fn reopen(&mut self) {
        self.early.clear();
        self.rig.reopen();
    }

    fn expect_silence(&mut self, when: &str) {
        let early = self.early.pop();
        assert!(early.is_none(), "the disk completed what nobody waits for, {when}: {early:?}");
        for _ in 0..10 {
            self.rig.wait();
            let completion = self.rig.disk().poll();
            assert!(completion.is_none(), "the disk completed something {when}: {completion:?}");
        }
    }
}
