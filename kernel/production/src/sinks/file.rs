//! A sink that appends to a file: a line of JSON for each effect, durable before it is acknowledged.
//!
//! ```text
//! {"id":"…","token":"…","channel":3,"payload":"9 went from 1 to 2"}
//! ```
//!
//! A payload that is no text is in hexadecimal, as `payload_hex`; a line of the log has no channel. Several replicas of a machine may
//! append to one file, and any other program may read it.
//!
//! **It honours ids**, those of an earlier life and of other processes among them: whoever appends holds a lock on the file, first
//! reads what came in since it last did, and appends nothing under an id that is there. Of each cluster's channel the greatest id is
//! remembered: what is greater is new, and only for what is smaller, which an operator ran again, the file is read from its beginning. **It
//! honours tokens**: what is older than what a channel of its cluster holds is refused; tokens of different clusters do not compare. Asked whether it did something and did not, it puts
//! that down as a line without a payload, so that no older attempt comes after it.
//!
//! **After a crash**: a line is written by one call and made durable by `fdatasync`. A last line that is torn was acknowledged by nobody,
//! and is cut off; a whole one that nobody acknowledged is made durable when its id comes again. If making a line durable fails, it is
//! cut off again and nobody knows.
//!
//! Deliberately absent: rotation. A file that is cut or replaced has forgotten what it held.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use chronon::{
    effect::{Destination, EffectId, EffectOrder, EffectResult, FencingToken},
    types::ClusterId,
};
use rustix::{
    fs::{FlockOperation, fdatasync, flock, fsync},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Sink, code};

/// Appends effects to a file.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    /// None until it is first used, and after an error.
    open: Mutex<Option<Open>>,
}

/// A line.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// The file, and what was read of it.
#[derive(Debug)]
struct Open {
    file: File,
    /// How many of its bytes were read, all whole lines.
    seen: u64,
    /// Of each channel of each cluster that wrote here. One cluster's ids and tokens say nothing of another's.
    latest: BTreeMap<Place, Latest>,
}

/// A cluster, and a channel of it; none stands for lines of the log.
type Place = (ClusterId, Option<u32>);

#[derive(Clone, Copy, Debug)]
struct Latest {
    /// The greatest that was done.
    id: Option<EffectId>,
    /// The greatest that was seen.
    token: FencingToken,
}

/// What an attempt failed at.
enum Trouble {
    /// Nothing was written.
    Before(io::Error),
    /// Something may have been.
    After(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Before(error)
    }
}

impl FileSink {
    /// A sink for that file, which is made when it is first used.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), open: Mutex::default() }
    }

    /// Does something with the file under its lock.
    fn with<T>(&self, act: impl FnOnce(&mut Open) -> Result<T, Trouble>) -> Result<T, Trouble> {
        // Whoever panicked left the file as a crash would have.
        let mut guard = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match guard.take() {
            Some(open) => open,
            None => Open::new(&self.path)?,
        };
        retried(|| flock(&open.file, FlockOperation::LockExclusive))?;
        let done = open.catch_up().map_err(Trouble::Before).and_then(|()| act(&mut open));
        // Closing the file would do it, too.
        let unlocked = retried(|| flock(&open.file, FlockOperation::Unlock));
        if done.is_ok() && unlocked.is_ok() {
            *guard = Some(open);
        }
        done
    }
}

impl Sink for FileSink {
    fn run(&self, order: &EffectOrder) -> EffectResult {
        let channel = match order.destination {
            Destination::Emit(channel) => Some(channel.0),
            Destination::Log(_) => None,
            Destination::Fetch => return EffectResult::Refused { code: code::BAD_ADDRESS },
        };
        told(self.with(|open| {
            if open.holds(channel, order.id)? {
                return open.sync().map(|()| EffectResult::Done { response: Vec::new() });
            }
            if open.latest.get(&(order.id.cluster, channel)).is_some_and(|latest| order.token < latest.token) {
                return Ok(EffectResult::Failed { code: code::FENCED });
            }
            open.append(channel, order, true)?;
            Ok(EffectResult::Done { response: Vec::new() })
        }))
    }

    fn ask(&self, order: &EffectOrder) -> EffectResult {
        let channel = match order.destination {
            Destination::Emit(channel) => Some(channel.0),
            Destination::Log(_) => None,
            Destination::Fetch => return EffectResult::NotDone,
        };
        told(self.with(|open| {
            if open.holds(channel, order.id)? {
                return open.sync().map(|()| EffectResult::Done { response: Vec::new() });
            }
            open.append(channel, order, false)?;
            Ok(EffectResult::NotDone)
        }))
    }

    fn words(&self, code: u32) -> Option<String> {
        let system = |errno| io::Error::from_raw_os_error(errno).to_string();
        if code == code::FENCED { None } else { i32::try_from(code).ok().map(system) }
    }

    fn prepare(&self) -> io::Result<()> {
        match self.with(|_| Ok(())) {
            Err(Trouble::Before(error) | Trouble::After(error)) => {
                Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The name must last as long as what is under it.
        fsync(File::open(folder)?)?;
        Ok(Self { file, seen: 0, latest: BTreeMap::new() })
    }

    /// Reads what was appended since, and cuts off what is no whole line. Under the lock nobody is about to finish it.
    fn catch_up(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        if size < self.seen {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file was cut by somebody else"));
        }
        let (mut seen, mut latest) = (self.seen, std::mem::take(&mut self.latest));
        let torn = each_line(&self.file, self.seen, |length, line| {
            seen += length;
            if let Some((channel, id, token, done)) = line {
                let entry = latest.entry((id.cluster, channel)).or_insert(Latest { id: None, token });
                entry.token = entry.token.max(token);
                entry.id = if done { entry.id.max(Some(id)) } else { entry.id };
            }
        });
        (self.seen, self.latest) = (seen, latest);
        if torn? {
            tracing::warn!(bytes = size - seen, "the last line of a file of effects was torn, and is cut off");
            self.file.set_len(seen)?;
        }
        Ok(())
    }

    /// Whether it was done. All of the file was read.
    fn holds(&self, channel: Option<u32>, id: EffectId) -> io::Result<bool> {
        let Some(greatest) = self.latest.get(&(id.cluster, channel)).and_then(|latest| latest.id) else {
            return Ok(false);
        };
        if id >= greatest {
            return Ok(id == greatest);
        }
        let mut found = false;
        each_line(&self.file, 0, |_, line| found |= line.is_some_and(|(_, other, _, done)| done && other == id))?;
        Ok(found)
    }

    /// Appends a line and makes it durable.
    fn append(&mut self, channel: Option<u32>, order: &EffectOrder, done: bool) -> Result<(), Trouble> {
        let text = std::str::from_utf8(&order.payload).ok().map(str::to_owned);
        let hex = || order.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        let payload_hex = if done && text.is_none() { Some(hex()) } else { None };
        let payload = text.filter(|_| done);
        let (id, token) = (order.id.to_string(), order.token.to_string());
        let line = Line { id, token, channel, payload, payload_hex };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| Trouble::Before(error.into()))?;
        bytes.push(b'\n');
        let written = (&self.file).write_all(&bytes).and_then(|()| Ok(retried(|| fdatasync(&self.file))?));
        if let Err(error) = written {
            // Else it would be read again, and taken for durable, which a later sync would not make it.
            let _ = self.file.set_len(self.seen);
            return Err(Trouble::After(error));
        }
        self.seen += bytes.len() as u64;
        let latest = self.latest.entry((order.id.cluster, channel)).or_insert(Latest { id: None, token: order.token });
        latest.token = latest.token.max(order.token);
        latest.id = if done { latest.id.max(Some(order.id)) } else { latest.id };
        Ok(())
    }

    /// What is there may be there in memory alone.
    fn sync(&self) -> Result<(), Trouble> {
        retried(|| fdatasync(&self.file)).map_err(|error| Trouble::After(error.into()))
    }
}

/// What a line says: its channel, its effect, the token, and whether it was done. None if it is nobody's.
type Said = Option<(Option<u32>, EffectId, FencingToken, bool)>;

/// Tells each whole line from an offset on, with its length. Says whether there is a part of one behind them.
fn each_line(file: &File, from: u64, mut tell: impl FnMut(u64, Said)) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    reader.seek(SeekFrom::Start(from))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if line.last() != Some(&b'\n') {
            return Ok(true);
        }
        tell(line.len() as u64, said(&line));
    }
}

fn said(line: &[u8]) -> Said {
    let Line { id, token, channel, payload, payload_hex } = serde_json::from_slice(line).ok()?;
    Some((channel, id.parse().ok()?, token.parse().ok()?, payload.is_some() || payload_hex.is_some()))
}

/// Of an error as of a result.
fn told(done: Result<EffectResult, Trouble>) -> EffectResult {
    let errno = |error: &io::Error| error.raw_os_error().map_or(code::NO_NUMBER, i32::unsigned_abs);
    done.unwrap_or_else(|trouble| match trouble {
        Trouble::Before(error) => EffectResult::Failed { code: errno(&error) },
        Trouble::After(error) => EffectResult::Unknown { code: errno(&error) },
    })
}

/// Calls again what a signal interrupted.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        Self::Before(error.into())
    }
}

#[cfg(test)]
mod tests;
