//! What this machine's disk can do, and what processes have read and written.

use std::{
    fs::OpenOptions,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Instant,
};

use rustix::fs::OFlags;

/// How much is written and read for a measurement.
const SIZE: u64 = 2 << 30;

/// By so much at once.
const PART: usize = 4 << 20;

const ALIGNMENT: usize = 4096;

/// Bytes a second, sequentially and past the page cache.
pub(crate) struct DiskRates {
    pub(crate) write: u64,
    pub(crate) read: u64,
}

pub(crate) fn disk_rates(folder: &Path) -> Result<DiskRates, String> {
    let path = folder.join(format!("state-figures-{}", std::process::id()));
    let rates = measure(&path);
    let _ = std::fs::remove_file(&path);
    rates.map_err(|error| format!("{}: {error}", path.display()))
}

/// The second time over a file counts: the first one has the file system find room for it.
fn measure(path: &Path) -> std::io::Result<DiskRates> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).custom_flags(OFlags::DIRECT.bits().cast_signed());
    let file = options.open(path)?;
    let mut bytes = vec![0x5a; PART + ALIGNMENT];
    let start = bytes.as_ptr().align_offset(ALIGNMENT);
    let part = &mut bytes[start..start + PART];
    let mut write = 0;
    for _ in 0..2 {
        let began = Instant::now();
        for offset in (0..SIZE).step_by(PART) {
            file.write_all_at(part, offset)?;
        }
        file.sync_data()?;
        write = rate(SIZE, began);
    }
    let began = Instant::now();
    for offset in (0..SIZE).step_by(PART) {
        file.read_exact_at(part, offset)?;
    }
    Ok(DiskRates { write, read: rate(SIZE, began) })
}

/// So many bytes since then, in bytes a second.
pub(crate) fn rate(bytes: u64, began: Instant) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000 / began.elapsed().as_micros().max(1)).unwrap_or(u64::MAX)
}

/// What a process has had a disk read and write so far.
#[derive(Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Moved {
    pub(crate) fn of(process: u32) -> Result<Self, String> {
        let path = format!("/proc/{process}/io");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| format!("{path} has no {name}"))
        };
        Ok(Self { read: number("read_bytes:")?, written: number("write_bytes:")? })
    }
}

/// How many processes wanted a core, as the system says.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
