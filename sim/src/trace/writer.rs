//! The writing side of a trace, and its digest.
//!
//! Bytes gather in one buffer and are hashed a block at a time: to hash each small record alone would cost more than to
//! simulate it. In [`TraceMode::Digest`] a hashed block is forgotten.

use std::sync::Arc;

use chronon::{
    effect::{Destination, EffectId, EffectOrder, EffectReport, EffectResult, Errand, FencingToken, Severity},
    frame::SECTOR_SIZE,
    process::{DiskError, Now, ProbeId, Token},
    types::NodeId,
};

use super::{
    CrashCause, TraceBodies, TraceMode,
    encode::{Page, Pen},
    tag,
};
use crate::{
    fold,
    network::{Fate, LinkSettings},
    verdict::Failure,
};

/// How many bytes are hashed at once: enough to keep every lane of a wide hash busy, little enough to stay near the core.
const BLOCK: usize = 32 * 1024;

/// A whole trace is a multiple of this: as much as a wide hash takes at once. A rest would be hashed by fewer and fewer lanes,
/// which takes longer than the zeros do.
pub(super) const PADDING: usize = 8 * 1024;

/// What is written to between blocks; a larger record is hashed in several blocks.
const SLACK: usize = 4 * 1024;

/// Writes records and keeps the digest.
#[derive(Clone)]
pub(crate) struct TraceWriter {
    mode: TraceMode,
    bodies: TraceBodies,
    /// What has not been hashed yet, less than a block between records.
    page: Page,
    /// Made with the first block: a short run is hashed in one go.
    hasher: Option<Box<blake3::Hasher>>,
    /// Whole blocks, in [`TraceMode::Keep`]. Shared by clones.
    kept: Vec<Arc<[u8]>>,
    /// The virtual time of the last record that has one.
    last_ns: u64,
    /// By node: how far the clocks' readings lay from virtual time at its last event.
    clocks: Vec<Readings>,
    /// The tables of probe names written so far.
    probe_tables: Vec<&'static [&'static str]>,
}

/// How far a node's clocks lie from virtual time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Readings {
    pub(super) monotonic: u64,
    pub(super) realtime: u64,
}

/// What the world does, or what is done to it: whatever is neither an event nor an action of a process.
pub(crate) enum Happening<'a> {
    Crash { node: NodeId, cause: CrashCause },
    Restart { node: NodeId },
    Pause { node: NodeId },
    Resume { node: NodeId },
    Cut { from: NodeId, to: NodeId },
    Heal { from: NodeId, to: NodeId },
    Clog { from: NodeId, to: NodeId },
    Unclog { from: NodeId, to: NodeId },
    Echo { from: NodeId, to: NodeId },
    Drop { number: u64, from: NodeId, to: NodeId },
    Drift { node: NodeId, drift_ppb: i32 },
    ClockStep { node: NodeId, delta_ns: i64 },
    Link { ends: Option<(NodeId, NodeId)>, settings: &'a LinkSettings },
    Note(&'a str),
    Verdict(&'a Failure),
}

impl TraceWriter {
    pub(crate) fn new(mode: TraceMode, bodies: TraceBodies) -> Self {
        Self {
            mode,
            bodies,
            page: Page::with_capacity(BLOCK + SLACK),
            hasher: None,
            kept: Vec::new(),
            last_ns: 0,
            clocks: Vec::new(),
            probe_tables: Vec::new(),
        }
    }

    /// A node joins. Its probe names are written once for each table of them.
    pub(crate) fn node(&mut self, now_ns: u64, name: &str, probes: &'static [&'static str]) {
        let table = match self.probe_tables.iter().position(|known| *known == probes) {
            Some(table) => table,
            None => {
                self.probe_tables.push(probes);
                self.page.pen(tag::PROBES).number(probes.len() as u64).end();
                for probe in probes {
                    self.page.text(probe);
                }
                self.probe_tables.len() - 1
            }
        };
        self.clocks.push(Readings::default());
        let passed_ns = self.passed_ns(now_ns);
        self.page.pen(tag::NODE).number(passed_ns).number(table as u64).end();
        self.page.text(name);
        self.flush();
    }

    #[inline]
    pub(crate) fn start(&mut self, now_ns: u64, node: NodeId, now: Now, nonce: u128) {
        self.event(tag::START, now_ns, node, now).end();
        self.page.bytes(&nonce.to_le_bytes());
    }

    #[inline]
    pub(crate) fn deadline(&mut self, now_ns: u64, node: NodeId, now: Now) {
        self.event(tag::DEADLINE, now_ns, node, now).end();
    }

    /// `behind` is how many frames were sent since this one. What arrived is written only where it is not what was sent.
    #[inline(always)]
    pub(crate) fn message(
        &mut self,
        (now_ns, node, now): (u64, NodeId, Now),
        from: NodeId,
        behind: u64,
        corrupted: Option<&[u8]>,
    ) {
        self.flush();
        let passed_ns = self.passed_ns(now_ns);
        let moved = self.moved(now_ns, node, now);
        let tag = tag::MESSAGE
            | if moved.is_some() { tag::CLOCKS_MOVED } else { 0 }
            | if corrupted.is_some() { tag::CORRUPTED } else { 0 };
        let (to, from) = (u64::from(node.0), u64::from(from.0));
        if small_message(passed_ns, to, from, behind) {
            let head = u64::from(tag | tag::SMALL) | to << 8 | from << 16 | behind << 24 | passed_ns << 40;
            self.page.bytes(&head.to_le_bytes());
        } else {
            self.page.pen(tag).number(passed_ns).number(to).number(from).number(behind).end();
        }
        if let Some((monotonic, realtime)) = moved {
            self.page.pen_on().signed(monotonic).signed(realtime).end();
        }
        if let Some(bytes) = corrupted {
            self.page.number(bytes.len() as u64);
            self.page.bytes(bytes);
        }
    }

    pub(crate) fn completion(
        &mut self,
        (now_ns, node, now): (u64, NodeId, Now),
        token: Token,
        result: Result<&[u8], DiskError>,
    ) {
        let flag = if result.is_err() { tag::FAILED } else { 0 };
        let pen = self.event(tag::COMPLETION | flag, now_ns, node, now).number(token.0);
        match result {
            Err(error) => pen.byte(error_code(error)).end(),
            Ok(data) => {
                pen.number(data.len() as u64).end();
                if !data.is_empty() {
                    self.page.bytes(&fold::checksum(without_zeros(data)).to_le_bytes());
                }
            }
        }
    }

    /// A frame is sent. What becomes of it follows, if it is worth a word: it is written while it is at hand, before the
    /// network has decided.
    #[inline(always)]
    pub(crate) fn send(&mut self, to: NodeId, body: &[u8]) {
        self.flush();
        let flag = if self.bodies == TraceBodies::Checksum { tag::CHECKSUM } else { 0 };
        let (to, length) = (u64::from(to.0), body.len() as u64);
        if small_send(to, length) {
            let head = u32::from(tag::SEND | tag::SMALL | flag) | (to << 8 | length << 16) as u32;
            self.page.bytes(&head.to_le_bytes());
        } else {
            self.page.pen(tag::SEND | flag).number(to).number(length).end();
        }
        if flag == 0 {
            self.page.bytes(body);
        } else {
            self.page.bytes(&fold::checksum(body).to_le_bytes());
        }
    }

    /// What became of the frame sent last, if it was not simply passed on.
    #[inline(never)]
    pub(crate) fn fate(&mut self, fate: Fate) {
        self.page.pen(tag::FATE).byte(fate.0).end();
    }

    pub(crate) fn read(&mut self, token: Token, offset: u64, length: u32) {
        self.page.pen(tag::READ).number(token.0).number(offset).number(length.into()).end();
        self.flush();
    }

    pub(crate) fn write(&mut self, token: Token, offset: u64, data: &[u8], durable: bool) {
        let flag = if durable { tag::DURABLE } else { 0 };
        let pen = self.page.pen(tag::WRITE | flag);
        pen.number(token.0).number(offset).number(data.len() as u64).end();
        self.page.bytes(&fold::checksum(without_zeros(data)).to_le_bytes());
        self.flush();
    }

    pub(crate) fn barrier(&mut self, token: Token) {
        self.page.pen(tag::BARRIER).number(token.0).end();
        self.flush();
    }

    pub(crate) fn order(&mut self, order: &EffectOrder) {
        let EffectOrder { id, token, errand, destination, payload, timeout_ns } = order;
        self.page.pen(tag::ORDER).end();
        attempt(self.page.pen_on(), *id, *token).end();
        let pen = self.page.pen_on().byte(u8::from(*errand == Errand::Ask));
        let pen = match destination {
            Destination::Emit(channel) => pen.byte(0).number(channel.0.into()),
            Destination::Fetch => pen.byte(1),
            Destination::Log(severity) => pen.byte(2).byte(severity_code(*severity)),
        };
        pen.number(*timeout_ns).end();
        self.page.number(payload.len() as u64);
        self.page.bytes(&fold::checksum(payload).to_le_bytes());
        self.flush();
    }

    /// A process is told what an order came to.
    pub(crate) fn report(&mut self, (now_ns, node, now): (u64, NodeId, Now), report: &EffectReport) {
        let EffectReport { id, token, result } = report;
        self.event(tag::COMPLETION | tag::EFFECT, now_ns, node, now).end();
        attempt(self.page.pen_on(), *id, *token).end();
        match result {
            EffectResult::Done { response } => {
                self.page.pen_on().byte(0).number(response.len() as u64).end();
                self.page.bytes(&fold::checksum(response).to_le_bytes());
            }
            EffectResult::Failed { code } => self.page.pen_on().byte(1).number((*code).into()).end(),
            EffectResult::Refused { code } => self.page.pen_on().byte(2).number((*code).into()).end(),
            EffectResult::Unknown { code } => self.page.pen_on().byte(3).number((*code).into()).end(),
            EffectResult::NotDone => self.page.pen_on().byte(4).end(),
        }
    }

    pub(crate) fn probe(&mut self, probe: ProbeId) {
        self.page.pen(tag::PROBE).number(probe.0.into()).end();
        self.flush();
    }

    pub(crate) fn halt(&mut self, reason: &str) {
        self.page.pen(tag::HALT).end();
        self.page.text(reason);
        self.flush();
    }

    pub(crate) fn happening(&mut self, now_ns: u64, happening: &Happening<'_>) {
        let passed_ns = self.passed_ns(now_ns);
        fn begin(page: &mut Page, tag: u8, passed_ns: u64) -> Pen<'_> {
            page.pen(tag).number(passed_ns)
        }
        let page = &mut self.page;
        let one = |pen: Pen<'_>, node: NodeId| pen.number(node.0.into()).end();
        let two = |pen: Pen<'_>, from: NodeId, to: NodeId| pen.number(from.0.into()).number(to.0.into()).end();
        match *happening {
            Happening::Crash { node, cause } => {
                begin(page, tag::CRASH, passed_ns).number(node.0.into()).byte(cause as u8).end()
            }
            Happening::Restart { node } => one(begin(page, tag::RESTART, passed_ns), node),
            Happening::Pause { node } => one(begin(page, tag::PAUSE, passed_ns), node),
            Happening::Resume { node } => one(begin(page, tag::RESUME, passed_ns), node),
            Happening::Cut { from, to } => two(begin(page, tag::CUT, passed_ns), from, to),
            Happening::Heal { from, to } => two(begin(page, tag::HEAL, passed_ns), from, to),
            Happening::Clog { from, to } => two(begin(page, tag::CLOG, passed_ns), from, to),
            Happening::Unclog { from, to } => two(begin(page, tag::UNCLOG, passed_ns), from, to),
            Happening::Echo { from, to } => two(begin(page, tag::ECHO, passed_ns), from, to),
            Happening::Drop { number, from, to } => two(begin(page, tag::DROP, passed_ns).number(number), from, to),
            Happening::Drift { node, drift_ppb } => {
                begin(page, tag::DRIFT, passed_ns).number(node.0.into()).signed(drift_ppb.into()).end();
            }
            Happening::ClockStep { node, delta_ns } => {
                begin(page, tag::CLOCK_STEP, passed_ns).number(node.0.into()).signed(delta_ns).end();
            }
            Happening::Link { ends, settings } => {
                // All links are written as no ends at all; otherwise each end is one more than its address.
                let (from, to) = ends.map_or((0, 0), |(from, to)| (u64::from(from.0) + 1, u64::from(to.0) + 1));
                begin(page, tag::LINK, passed_ns).number(from).number(to).end();
                for number in settings.numbers() {
                    page.number(number);
                }
            }
            Happening::Note(note) => {
                begin(page, tag::NOTE, passed_ns).end();
                page.text(note);
            }
            Happening::Verdict(failure) => {
                begin(page, tag::VERDICT, passed_ns).byte(failure.verdict as u8).number(failure.step).end();
                for part in [&failure.oracle, &failure.place, &failure.violation] {
                    page.text(part);
                }
            }
        }
        self.flush();
    }

    /// Where the `count` streams of randomness stand that were drawn from: purpose, two coordinates, words.
    pub(crate) fn checkpoint(
        &mut self,
        now_ns: u64,
        steps: u64,
        count: u32,
        positions: impl Iterator<Item = (u8, u32, u32, u64)>,
    ) {
        let passed_ns = self.passed_ns(now_ns);
        self.page.pen(tag::CHECKPOINT).number(passed_ns).number(steps).number(count.into()).end();
        // Nested iterators go through their items much faster by themselves than they hand them out.
        positions.for_each(|(purpose, a, b, words)| {
            self.page.pen(purpose).number(a.into()).number(b.into()).number(words).end();
        });
        self.flush();
    }

    /// Nothing follows but zeros up to a multiple of [`PADDING`].
    pub(crate) fn end(&mut self, now_ns: u64, steps: u64) {
        let passed_ns = self.passed_ns(now_ns);
        self.page.pen(tag::END).number(passed_ns).number(steps).end();
        self.page.pad(PADDING);
        self.flush();
    }

    /// The digest of everything written so far.
    pub(crate) fn digest(&self) -> [u8; 32] {
        match &self.hasher {
            None => *blake3::hash(self.page.written()).as_bytes(),
            Some(hasher) => *hasher.clone().update(self.page.written()).finalize().as_bytes(),
        }
    }

    /// Everything written so far, if it was kept.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        if self.mode == TraceMode::Digest {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.kept.len() * BLOCK + self.page.len());
        for block in &self.kept {
            bytes.extend_from_slice(block);
        }
        bytes.extend_from_slice(self.page.written());
        Some(bytes)
    }

    /// The common beginning of an event's record.
    #[inline(always)]
    fn event(&mut self, tag: u8, now_ns: u64, node: NodeId, now: Now) -> Pen<'_> {
        // Before and not after: so the record's end needs no second look at the buffer.
        self.flush();
        let passed_ns = self.passed_ns(now_ns);
        match self.moved(now_ns, node, now) {
            None => self.page.pen(tag).number(passed_ns).number(node.0.into()),
            Some((monotonic, realtime)) => {
                let pen = self.page.pen(tag | tag::CLOCKS_MOVED).number(passed_ns).number(node.0.into());
                pen.signed(monotonic).signed(realtime)
            }
        }
    }

    /// By how much the node's clocks stand otherwise to virtual time than at its last event, if they do.
    #[inline(always)]
    fn moved(&mut self, now_ns: u64, node: NodeId, now: Now) -> Option<(i64, i64)> {
        let readings =
            Readings { monotonic: now.monotonic.0.wrapping_sub(now_ns), realtime: now.realtime.0.wrapping_sub(now_ns) };
        let last = &mut self.clocks[node.0 as usize];
        if *last == readings {
            return None;
        }
        let monotonic = readings.monotonic.wrapping_sub(last.monotonic) as i64;
        let realtime = readings.realtime.wrapping_sub(last.realtime) as i64;
        *last = readings;
        Some((monotonic, realtime))
    }

    #[inline(always)]
    fn passed_ns(&mut self, now_ns: u64) -> u64 {
        let passed_ns = now_ns - self.last_ns;
        self.last_ns = now_ns;
        passed_ns
    }

    #[inline(always)]
    fn flush(&mut self) {
        if self.page.len() >= BLOCK {
            self.hash_blocks();
        }
    }

    #[inline(never)]
    fn hash_blocks(&mut self) {
        let whole = self.page.len() / BLOCK * BLOCK;
        let blocks = &self.page.written()[..whole];
        // Always whole blocks: a hasher that is fed a part of its own unit falls back to a slow path at both ends.
        self.hasher.get_or_insert_default().update(blocks);
        if self.mode == TraceMode::Keep {
            self.kept.push(Arc::from(blocks));
        }
        self.page.forget(whole);
    }
}

/// Whether the numbers of a message fit their places of fixed width: three bytes, one, one and two.
/// What is left of `bytes` without the zeros at their end, to within a block: a comparison costs less than a checksum.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const BLOCK: usize = 128;
    static ZEROS: [u8; SECTOR_SIZE] = [0; SECTOR_SIZE];
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    if !rest.is_empty() {
        return bytes;
    }
    // By sectors as long as they are zeros, which compares them at the speed of memory; then by words, where a call would cost more.
    let (_, sectors) = bytes.as_rchunks::<SECTOR_SIZE>();
    let zeros = sectors.iter().rev().take_while(|sector| **sector == ZEROS).count();
    let blocks = &blocks[..blocks.len() - zeros * (SECTOR_SIZE / BLOCK)];
    let zero =
        |block: &[u8; BLOCK]| block.as_chunks().0.iter().fold(0, |any, word| any | u64::from_le_bytes(*word)) == 0;
    let last = blocks.iter().rposition(|block| !zero(block));
    blocks[..last.map_or(0, |last| last + 1)].as_flattened()
}

#[inline(always)]
pub(super) fn small_message(passed_ns: u64, to: u64, from: u64, behind: u64) -> bool {
    passed_ns >> 24 | (to | from) >> 8 | behind >> 16 == 0
}

/// Whether the numbers of a send fit their places of fixed width: one byte and two.
#[inline(always)]
pub(super) fn small_send(to: u64, length: u64) -> bool {
    to >> 8 | length >> 16 == 0
}

/// Which effect and which attempt, in seven numbers.
fn attempt(pen: Pen<'_>, id: EffectId, token: FencingToken) -> Pen<'_> {
    let pen = pen.number(id.cluster.0).number(id.op.0).number(id.position.into()).number(id.index.into());
    pen.number(token.fence.epoch.0.into()).number(token.fence.view.0).number(token.attempt.0)
}

/// The byte that stands for how much a line matters.
pub(super) const fn severity_code(severity: Severity) -> u8 {
    match severity {
        Severity::Debug => 0,
        Severity::Info => 1,
        Severity::Warning => 2,
        Severity::Error => 3,
    }
}

/// The byte that stands for a disk error.
pub(super) const fn error_code(error: DiskError) -> u8 {
    match error {
        DiskError::Read => 0,
        DiskError::Write => 1,
        DiskError::Barrier => 2,
        DiskError::NoSpace => 3,
    }
}
