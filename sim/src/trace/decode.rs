//! Reading a trace: total on any bytes. A value or a typed error, never a panic, and no allocation that the bytes have not
//! paid for.

use chronon::{
    effect::{Channel, Destination, EffectId, Errand, Fence, FencingToken, Severity},
    process::{DiskError, Now, Token},
    types::{ClusterId, Epoch, Instant, NodeId, Op, Timestamp, View},
};

use super::{
    Body, CameTo, Contents, CrashCause, Entry, Named, Record, TraceError, TraceHeader,
    cursor::Cursor,
    seal::Seal,
    tag,
    writer::{PADDING, Readings, error_code, severity_code, small_message, small_send},
};
use crate::{
    network::{Fate, LinkSettings},
    verdict::Verdict,
};

/// A trace's bytes, with the header read.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    header: TraceHeader,
    records: &'a [u8],
    /// How long the header is.
    offset: u64,
}

impl<'a> Trace<'a> {
    /// Reads the header and checks that every byte is what was written. The records are read by [`Trace::records`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TraceError> {
        let (trace, seal) = Self::open(bytes)?;
        seal.check(bytes)?;
        Ok(trace)
    }

    /// Reads the header and believes the rest, for whoever wants to see what a damaged trace still says.
    pub fn unchecked(bytes: &'a [u8]) -> Result<Self, TraceError> {
        Self::open(bytes).map(|(trace, _)| trace)
    }

    fn open(bytes: &'a [u8]) -> Result<(Self, Seal<'a>), TraceError> {
        let mut cursor = Cursor::new(bytes);
        let (header, seal) = TraceHeader::decode(&mut cursor)?;
        Ok((Self { header, records: cursor.rest(), offset: cursor.at() as u64 }, seal))
    }

    /// What was run.
    pub fn header(&self) -> &TraceHeader {
        &self.header
    }

    /// The bytes after the header: what the digest covers.
    pub fn record_bytes(&self) -> &'a [u8] {
        self.records
    }

    /// The digest.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(self.records).as_bytes()
    }

    /// The records, in order. After an error there is nothing more.
    pub fn records(&self) -> Records<'a> {
        Records {
            cursor: Cursor::new(self.records),
            header_length: self.offset,
            at_ns: 0,
            step: 0,
            sent: 0,
            acting: None,
            nodes: Vec::new(),
            tables: Vec::new(),
            over: false,
        }
    }
}

/// Decodes one record after another.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    header_length: u64,
    at_ns: u64,
    step: u64,
    sent: u64,
    /// The node of the last event: the one whose actions follow.
    acting: Option<u32>,
    nodes: Vec<Node<'a>>,
    tables: Vec<Vec<&'a str>>,
    over: bool,
}

#[derive(Clone, Debug)]
struct Node<'a> {
    name: &'a str,
    table: u64,
    clocks: Readings,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Entry<'a>, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let start = self.cursor.at();
        let decoded = self.record();
        self.over = !matches!(&decoded, Ok(record) if !matches!(record, Record::End { .. }));
        let entry = decoded.map(|record| Entry {
            offset: start as u64,
            length: (self.cursor.at() - start) as u64,
            at_ns: self.at_ns,
            step: self.step,
            record,
        });
        Some(entry.map_err(|error| self.counted_from_the_beginning(error)))
    }
}

impl<'a> Records<'a> {
    fn record(&mut self) -> Result<Record<'a>, TraceError> {
        let [tag] = self.cursor.array()?;
        let flags = tag & !tag::KIND;
        let kind = tag & tag::KIND;
        let allowed = match kind {
            tag::MESSAGE => tag::CLOCKS_MOVED | tag::CORRUPTED | tag::SMALL,
            tag::COMPLETION if flags & tag::EFFECT != 0 => tag::CLOCKS_MOVED | tag::EFFECT,
            tag::COMPLETION => tag::CLOCKS_MOVED | tag::FAILED,
            tag::START | tag::DEADLINE => tag::CLOCKS_MOVED,
            tag::SEND => tag::CHECKSUM | tag::SMALL,
            tag::WRITE => tag::DURABLE,
            _ => 0,
        };
        if flags & !allowed != 0 {
            return Err(self.cursor.malformed("a flag that this record cannot have"));
        }
        match kind {
            tag::MESSAGE => self.message(flags),
            tag::START | tag::COMPLETION | tag::DEADLINE => self.event(kind, flags),
            tag::SEND => self.send(flags),
            tag::FATE | tag::READ | tag::WRITE | tag::BARRIER | tag::ORDER | tag::PROBE | tag::HALT => {
                self.action(kind, flags)
            }
            tag::PROBES => {
                let names = (0..self.cursor.number()?).map(|_| self.cursor.text()).collect::<Result<Vec<_>, _>>()?;
                self.tables.push(names.clone());
                Ok(Record::Probes { names })
            }
            _ => self.happening(kind),
        }
    }

    fn message(&mut self, flags: u8) -> Result<Record<'a>, TraceError> {
        let (passed_ns, to, from, behind) = if flags & tag::SMALL != 0 {
            let [to, from, low, high, a, b, c] = self.cursor.array()?;
            let behind = u16::from_le_bytes([low, high]);
            (u32::from_le_bytes([a, b, c, 0]).into(), to.into(), from.into(), behind.into())
        } else {
            let numbers = (self.cursor.number()?, self.cursor.number()?, self.cursor.number()?, self.cursor.number()?);
            if small_message(numbers.0, numbers.1, numbers.2, numbers.3) {
                return Err(self.cursor.malformed("small numbers in the large form"));
            }
            numbers
        };
        self.pass(passed_ns)?;
        let node = self.known(to)?;
        let from = self.address(from)?;
        let now = self.clocks(node, flags)?;
        let Some(number) = self.sent.checked_sub(behind) else {
            return Err(self.cursor.malformed("a message that nobody sent yet"));
        };
        let corrupted = if flags & tag::CORRUPTED != 0 { Some(self.cursor.sized()?) } else { None };
        Ok(Record::Message { node, now, from, number, corrupted })
    }

    fn event(&mut self, kind: u8, flags: u8) -> Result<Record<'a>, TraceError> {
        let passed_ns = self.cursor.number()?;
        self.pass(passed_ns)?;
        let node = self.known_node()?;
        let now = self.clocks(node, flags)?;
        Ok(match kind {
            tag::START => Record::Start { node, now, nonce: u128::from_le_bytes(self.cursor.array()?) },
            tag::DEADLINE => Record::Deadline { node, now },
            _ if flags & tag::EFFECT != 0 => {
                let (id, token) = self.attempt()?;
                let [kind] = self.cursor.array()?;
                let result = match kind {
                    0 => CameTo::Done { contents: self.contents()? },
                    1 => CameTo::Failed { code: self.cursor.small()? },
                    2 => CameTo::Refused { code: self.cursor.small()? },
                    3 => CameTo::Unknown { code: self.cursor.small()? },
                    4 => CameTo::NotDone,
                    _ => return Err(self.cursor.malformed("an effect that came to nothing known")),
                };
                Record::Report { node, now, id, token, result }
            }
            _ => {
                let token = Token(self.cursor.number()?);
                let result = if flags & tag::FAILED != 0 {
                    let [code] = self.cursor.array()?;
                    let errors = [DiskError::Read, DiskError::Write, DiskError::Barrier, DiskError::NoSpace];
                    match errors.into_iter().find(|error| error_code(*error) == code) {
                        Some(error) => Err(error),
                        None => return Err(self.cursor.malformed("an unknown disk error")),
                    }
                } else {
                    let length = self.cursor.small()?;
                    let checksum = if length == 0 { 0 } else { u64::from_le_bytes(self.cursor.array()?) };
                    Ok(Contents { length, checksum })
                };
                Record::Completion { node, now, token, result }
            }
        })
    }

    /// Which effect and which attempt.
    fn attempt(&mut self) -> Result<(EffectId, FencingToken), TraceError> {
        let (cluster, op) = (ClusterId(self.cursor.number()?), Op(self.cursor.number()?));
        let id = EffectId { cluster, op, position: self.cursor.small()?, index: self.cursor.small()? };
        let fence = Fence { epoch: Epoch(self.cursor.small()?), view: View(self.cursor.number()?) };
        Ok((id, FencingToken { fence, attempt: Op(self.cursor.number()?) }))
    }

    fn contents(&mut self) -> Result<Contents, TraceError> {
        let length = self.cursor.small()?;
        Ok(Contents { length, checksum: u64::from_le_bytes(self.cursor.array()?) })
    }

    /// What both clocks of the node, which takes an event, read.
    fn clocks(&mut self, node: Named<'a>, flags: u8) -> Result<Now, TraceError> {
        let clocks = &mut self.nodes[node.node.0 as usize].clocks;
        if flags & tag::CLOCKS_MOVED != 0 {
            let (monotonic, realtime) = (self.cursor.signed()?, self.cursor.signed()?);
            if (monotonic, realtime) == (0, 0) {
                return Err(self.cursor.malformed("clocks that moved by nothing"));
            }
            clocks.monotonic = clocks.monotonic.wrapping_add(monotonic as u64);
            clocks.realtime = clocks.realtime.wrapping_add(realtime as u64);
        }
        self.acting = Some(node.node.0);
        self.step = self.step.saturating_add(1);
        Ok(Now {
            monotonic: Instant(self.at_ns.wrapping_add(clocks.monotonic)),
            realtime: Timestamp(self.at_ns.wrapping_add(clocks.realtime)),
        })
    }

    fn send(&mut self, flags: u8) -> Result<Record<'a>, TraceError> {
        let (to, length) = if flags & tag::SMALL != 0 {
            let [to, low, high] = self.cursor.array()?;
            (u64::from(to), u32::from(u16::from_le_bytes([low, high])))
        } else {
            let (to, length) = (self.cursor.number()?, self.cursor.small()?);
            if small_send(to, length.into()) {
                return Err(self.cursor.malformed("small numbers in the large form"));
            }
            (to, length)
        };
        let (node, to) = (self.acting()?, self.address(to)?);
        self.sent = self.sent.saturating_add(1);
        let body = if flags & tag::CHECKSUM != 0 {
            Body::Checksum { length, checksum: u64::from_le_bytes(self.cursor.array()?) }
        } else {
            Body::Bytes(self.cursor.bytes(length.into())?)
        };
        Ok(Record::Send { node, to, number: self.sent, body })
    }

    /// The node whose event was the last.
    fn acting(&self) -> Result<Named<'a>, TraceError> {
        match self.acting {
            Some(acting) => Ok(self.named(acting)),
            None => Err(self.cursor.malformed("an action before any event")),
        }
    }

    fn action(&mut self, kind: u8, flags: u8) -> Result<Record<'a>, TraceError> {
        let node = self.acting()?;
        Ok(match kind {
            tag::FATE => {
                let [fate] = self.cursor.array()?;
                Record::Fate { node, number: self.sent, fate: Fate(fate) }
            }
            tag::READ => {
                let (token, offset) = (Token(self.cursor.number()?), self.cursor.number()?);
                Record::Read { node, token, offset, length: self.cursor.small()? }
            }
            tag::WRITE => {
                let (token, offset) = (Token(self.cursor.number()?), self.cursor.number()?);
                let length = self.cursor.small()?;
                let contents = Contents { length, checksum: u64::from_le_bytes(self.cursor.array()?) };
                Record::Write { node, token, offset, durable: flags & tag::DURABLE != 0, contents }
            }
            tag::BARRIER => Record::Barrier { node, token: Token(self.cursor.number()?) },
            tag::ORDER => {
                let (id, token) = self.attempt()?;
                let errand = match self.cursor.array()? {
                    [0] => Errand::Run,
                    [1] => Errand::Ask,
                    _ => return Err(self.cursor.malformed("an unknown errand")),
                };
                let destination = match self.cursor.array()? {
                    [0] => Destination::Emit(Channel(self.cursor.small()?)),
                    [1] => Destination::Fetch,
                    [2] => {
                        let [code] = self.cursor.array()?;
                        let all = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error];
                        match all.into_iter().find(|severity| severity_code(*severity) == code) {
                            Some(severity) => Destination::Log(severity),
                            None => return Err(self.cursor.malformed("an unknown severity")),
                        }
                    }
                    _ => return Err(self.cursor.malformed("an unknown destination")),
                };
                let timeout_ns = self.cursor.number()?;
                Record::Order { node, id, token, errand, destination, timeout_ns, contents: self.contents()? }
            }
            tag::PROBE => {
                let probe = self.cursor.number()?;
                let table = self.tables.get(self.nodes[node.node.0 as usize].table as usize);
                match table.and_then(|names| names.get(usize::try_from(probe).ok()?)) {
                    Some(name) => Record::Probe { node, name },
                    None => return Err(self.cursor.malformed("a probe without a name")),
                }
            }
            _ => Record::Halt { node, reason: self.cursor.text()? },
        })
    }

    fn happening(&mut self, kind: u8) -> Result<Record<'a>, TraceError> {
        let passed_ns = self.cursor.number()?;
        self.pass(passed_ns)?;
        Ok(match kind {
            tag::NODE => {
                let table = self.cursor.number()?;
                if table >= self.tables.len() as u64 {
                    return Err(self.cursor.malformed("a node whose probes have no names"));
                }
                let name = self.cursor.text()?;
                self.nodes.push(Node { name, table, clocks: Readings::default() });
                Record::Node { node: self.named(self.nodes.len() as u32 - 1) }
            }
            tag::CRASH => {
                let node = self.known_node()?;
                let [cause] = self.cursor.array()?;
                match CrashCause::ALL.get(usize::from(cause)) {
                    Some(cause) => Record::Crash { node, cause: *cause },
                    None => return Err(self.cursor.malformed("an unknown cause of a crash")),
                }
            }
            tag::RESTART => Record::Restart { node: self.known_node()? },
            tag::PAUSE => Record::Pause { node: self.known_node()? },
            tag::RESUME => Record::Resume { node: self.known_node()? },
            tag::CUT => Record::Cut { from: self.node()?, to: self.node()? },
            tag::HEAL => Record::Heal { from: self.node()?, to: self.node()? },
            tag::CLOG => Record::Clog { from: self.node()?, to: self.node()? },
            tag::UNCLOG => Record::Unclog { from: self.node()?, to: self.node()? },
            tag::ECHO => Record::Echo { from: self.node()?, to: self.node()? },
            tag::DROP => {
                let number = self.cursor.number()?;
                Record::Drop { from: self.node()?, to: self.node()?, number }
            }
            tag::DRIFT => Record::Drift { node: self.known_node()?, drift_ppb: self.cursor.signed()? },
            tag::CLOCK_STEP => Record::ClockStep { node: self.known_node()?, delta_ns: self.cursor.signed()? },
            tag::LINK => {
                let ends = (self.cursor.number()?, self.cursor.number()?);
                let ends = match ends {
                    (0, 0) => None,
                    (0, _) | (_, 0) => return Err(self.cursor.malformed("a link with one end")),
                    (from, to) => Some((self.address(from - 1)?, self.address(to - 1)?)),
                };
                let mut numbers = [0; LinkSettings::NUMBERS];
                for number in &mut numbers {
                    *number = self.cursor.number()?;
                }
                match LinkSettings::from_numbers(numbers) {
                    Some(settings) => Record::Link { ends, settings },
                    None => return Err(self.cursor.malformed("settings that no link can have")),
                }
            }
            tag::NOTE => Record::Note { note: self.cursor.text()? },
            tag::CHECKPOINT => {
                let steps = self.cursor.number()?;
                let count = self.cursor.number()?;
                let positions = (0..count).map(|_| self.cursor.position()).collect::<Result<Vec<_>, _>>()?;
                Record::Checkpoint { steps, positions }
            }
            tag::VERDICT => {
                let [code] = self.cursor.array()?;
                let Some(verdict) = Verdict::ALL.into_iter().find(|verdict| *verdict as u8 == code) else {
                    return Err(self.cursor.malformed("an unknown verdict"));
                };
                let step = self.cursor.number()?;
                let (oracle, place) = (self.cursor.text()?, self.cursor.text()?);
                Record::Verdict { verdict, step, oracle, place, violation: self.cursor.text()? }
            }
            tag::END => {
                let steps = self.cursor.number()?;
                self.cursor.padding(PADDING)?;
                Record::End { steps }
            }
            _ => return Err(self.cursor.malformed("an unknown record")),
        })
    }

    fn pass(&mut self, passed_ns: u64) -> Result<(), TraceError> {
        match self.at_ns.checked_add(passed_ns) {
            Some(at_ns) => self.at_ns = at_ns,
            None => return Err(self.cursor.malformed("a time beyond the end of time")),
        }
        Ok(())
    }

    /// Reads an address that may be nobody's.
    fn node(&mut self) -> Result<Named<'a>, TraceError> {
        let number = self.cursor.number()?;
        self.address(number)
    }

    fn address(&self, number: u64) -> Result<Named<'a>, TraceError> {
        match u32::try_from(number) {
            Ok(number) => Ok(self.named(number)),
            Err(_) => Err(self.cursor.malformed("an address that is too large")),
        }
    }

    /// Reads the address of a node that was added.
    fn known_node(&mut self) -> Result<Named<'a>, TraceError> {
        let number = self.cursor.number()?;
        self.known(number)
    }

    fn known(&self, number: u64) -> Result<Named<'a>, TraceError> {
        if number >= self.nodes.len() as u64 {
            return Err(self.cursor.malformed("a node that was never added"));
        }
        self.address(number)
    }

    fn named(&self, number: u32) -> Named<'a> {
        Named { node: NodeId(number), name: self.nodes.get(number as usize).map_or("", |node| node.name) }
    }

    fn counted_from_the_beginning(&self, error: TraceError) -> TraceError {
        match error {
            TraceError::Malformed { offset, what } => {
                TraceError::Malformed { offset: offset.saturating_add(self.header_length), what }
            }
            TraceError::Truncated { length } => {
                TraceError::Truncated { length: length.saturating_add(self.header_length) }
            }
            other => other,
        }
    }
}
