//! `format`: makes a replica's data file, once.

use std::{
    io::{IsTerminal, stderr},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chronon::{
    app::{bank::Bank, jobs::Jobs, kv::Kv},
    frame::SECTOR_SIZE,
    replica::{Misfit, fits},
    storage::{
        Layout, LayoutError,
        layout::{BLOCKS_MIN, HEADERS_PER_SECTOR},
        superblock::{self, ApplicationName, Identity, REPLICAS_MAX},
    },
    types::{ClusterId, ReplicaId},
};
use chronon_production::{DataFile, runner, serve::CLIENTS_MAX, size};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    number::{counted, grouped, parse_cluster, parse_size},
    output::{Status, Trouble, remark, say},
    start::{Demo, branch},
};

/// What `format` gives a journal at the least, unless it is told otherwise: with [`MESSAGE_SIZE`], 256 MiB. More would make a first try
/// of three replicas slow and large.
///
/// Where there is room for larger checkpoints, the journal is as large as that: then a checkpoint is written for each so many bytes
/// of log as the state itself may have, and is given the time that it takes. A replica that was away for longer than a journal goes
/// takes a checkpoint of the others instead.
const SLOTS_LEAST: u32 = 4096;

/// What it gives the checkpoints.
const GRID_SIZE: &str = "256MiB";

/// The size of a block: what changes is written again by so much at the least, and a state has one address for so much.
const BLOCK_SIZE: u32 = 64 << 10;

/// The largest message: room for whatever the key-value store can be asked (two values of 16 KiB), and for a batch of two hundred
/// small requests.
const MESSAGE_SIZE: &str = "64KiB";

/// The smallest that can be chosen: a view change sends as many headers as a superblock holds in one message.
const MESSAGE_SIZE_MIN: u32 = 8 << 10;

/// The largest that can be chosen: a replica holds a few hundred of them in memory.
pub(super) const MESSAGE_SIZE_MAX: u32 = 16 << 20;

/// Of slots. A replica holds a few hundred bytes for each in memory.
pub(super) const SLOTS_MAX: u32 = 1 << 24;

/// How often a plain line says how far it is.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Make the data file of a replica: once, before its first start
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The cluster: any number, the same for all of its replicas; decimal, or hex as in 0x2a
    #[arg(long, value_name = "ID", value_parser = parse_cluster)]
    cluster: ClusterId,

    /// Which replica's file this is, from 0
    #[arg(long, value_name = "I")]
    replica: u8,

    /// How many replicas the cluster has: 1 to 6
    #[arg(long, value_name = "N")]
    replicas: u8,

    /// The file to make
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// The application that runs in the cluster: kv, bank, branch or jobs, or the name that your own says it has. The file is refused to any
    /// other; the same for all of the cluster's replicas
    #[arg(long, value_name = "NAME", default_value = "kv", value_parser = ApplicationName::new)]
    application: ApplicationName,

    /// How many prepares the journal holds: a multiple of 32. There is a checkpoint at about every half of so many. Unless it is said, as
    /// many as make the journal as large as the grid, and 4096 at the least
    #[arg(long, value_name = "N")]
    slots: Option<u32>,

    /// The largest message, and the size of a slot: a multiple of 4KiB
    #[arg(long, value_name = "BYTES", default_value = MESSAGE_SIZE, value_parser = parse_size)]
    message_size_max: u32,

    /// Room for checkpoints. The state, its sessions with it, may take up a fifth of it: one checkpoint is written while others are
    /// there, and may have nothing in common with them. The same for all of the cluster's replicas
    #[arg(long, value_name = "BYTES", default_value = GRID_SIZE, value_parser = size::parse)]
    grid_size: u64,

    /// How many sessions there may be before the least recently used one is evicted: the same for all of the cluster's replicas
    #[arg(long, value_name = "N", default_value_t = CLIENTS_MAX, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients_max: u32,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let layout = checked(arguments)?;
    if arguments.application.is_none() {
        return Err(Trouble::usage(
            "--application: a name is missing: give kv, bank, branch, jobs, or that of your own",
        ));
    }
    can_run(arguments.application.as_str(), &layout)
        .map_err(|misfit| Trouble::usage(format!("{}: {misfit}", arguments.data.display())))?;
    let incarnation = incarnation()?;
    let Arguments { cluster, replica, replicas: replica_count, clients_max, application, .. } = *arguments;
    let identity = Identity { cluster, replica: ReplicaId(replica), replica_count, application };
    let blocks = superblock::format(identity, incarnation, layout, clients_max);
    make(&arguments.data, layout.size(), &blocks)?;
    say(&made_words(arguments, layout, incarnation))?;
    Ok(Status::Done)
}

/// Whether an application that comes with the program can run in such a cluster. Of any other it is known when a replica is started.
fn can_run(application: &str, layout: &Layout) -> Result<(), Misfit> {
    match Demo::of_name(application) {
        Some(Demo::Kv) => fits(&Kv, layout),
        Some(Demo::Bank) => fits(&Bank, layout),
        Some(Demo::Branch) => fits(&branch(), layout),
        Some(Demo::Jobs) => fits(&Jobs::default(), layout),
        None => Ok(()),
    }
}

/// Makes a data file, says meanwhile how far it is, and leaves none if it is stopped.
pub(super) fn make(path: &Path, size: u64, blocks: &[(u64, Vec<u8>)]) -> Result<(), Trouble> {
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))
        .map_err(|error| Trouble::machine(format!("signals cannot be heard: {error}")))?;
    let mut progress = Progress::new(size);
    let made = DataFile::create_with(path, size, blocks, &mut |written| {
        progress.update(written);
        if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    Ok(made?)
}

/// An incarnation that no other file has.
pub(super) fn incarnation() -> Result<u128, Trouble> {
    let random = runner::random().map_err(|error| Trouble::machine(format!("no random numbers: {error}")))?;
    // Zero means none.
    Ok(random.max(1))
}

/// The layout, if all the numbers make sense.
fn checked(arguments: &Arguments) -> Result<Layout, Trouble> {
    let Arguments { replica, replicas, slots, message_size_max, grid_size, .. } = *arguments;
    if !(1..=REPLICAS_MAX).contains(&replicas) {
        return Err(Trouble::usage(format!("--replicas {replicas}: a cluster has 1 to {REPLICAS_MAX} replicas")));
    }
    if replica >= replicas {
        return Err(Trouble::usage(format!(
            "--replica {replica}: of {replicas}, the replicas are 0 to {}",
            replicas - 1
        )));
    }
    let is_a_size = message_size_max > 0 && message_size_max.is_multiple_of(SECTOR_SIZE as u32);
    if is_a_size && !(MESSAGE_SIZE_MIN..=MESSAGE_SIZE_MAX).contains(&message_size_max) {
        let (least, most) = (size::words(MESSAGE_SIZE_MIN.into()), size::words(MESSAGE_SIZE_MAX.into()));
        return Err(Trouble::usage(format!(
            "--message-size-max {message_size_max}: choose one from {least} to {most}"
        )));
    }
    let as_the_grid = u32::try_from(grid_size / u64::from(message_size_max.max(1))).unwrap_or(SLOTS_MAX).min(SLOTS_MAX);
    let slots = slots.unwrap_or((as_the_grid / HEADERS_PER_SECTOR * HEADERS_PER_SECTOR).max(SLOTS_LEAST));
    // Of no use where a message has no room, which is told below.
    let block_size = BLOCK_SIZE.min(message_size_max).max(SECTOR_SIZE as u32);
    let block_count = u32::try_from(grid_size / u64::from(block_size)).unwrap_or(u32::MAX);
    let layout = Layout { slot_count: slots, message_size_max, block_count, block_size };
    match layout.validated() {
        Ok(_) => {}
        Err(LayoutError::BlockCount(_)) => {
            let least = u64::from(BLOCKS_MIN) * u64::from(block_size);
            return Err(Trouble::usage(format!("--grid-size {grid_size}: choose {} or more", size::words(least))));
        }
        Err(error) => return Err(Trouble::usage(error)),
    }
    if slots > SLOTS_MAX {
        return Err(Trouble::usage(format!("--slots {slots}: choose {SLOTS_MAX} at most")));
    }
    Ok(layout)
}

/// What was made, and what comes next.
fn made_words(arguments: &Arguments, layout: Layout, incarnation: u128) -> String {
    let Arguments { cluster, replica, replicas, data, .. } = arguments;
    let shown = data.display();
    let grid = u64::from(layout.block_count) * u64::from(layout.block_size);
    let addresses: Vec<String> =
        (0..u16::from(*replicas)).map(|replica| format!("127.0.0.1:{}", 4000 + replica)).collect();
    let others = match replicas {
        1 => String::new(),
        _ => format!("once the files of all {replicas} replicas are made, "),
    };
    format!(
        "{shown}: replica {replica} of {replicas} in cluster {}, incarnation {incarnation:032x}\n\
         {} ({}): room for {} of up to {}, and for checkpoints of {}\n\
         next, {others}with their addresses:\n  \
         chronon start --data {} --addresses {}",
        cluster.0,
        counted(layout.size(), "byte"),
        size::words(layout.size()),
        counted(layout.slot_count.into(), "prepare"),
        size::words(layout.message_size_max.into()),
        size::words(grid),
        quoted(data),
        addresses.join(",")
    )
}

/// The name as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// How far it is: a bar on a terminal, a plain line every few seconds elsewhere.
struct Progress {
    size: u64,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    fn new(size: u64) -> Self {
        Self { size, bar: stderr().is_terminal().then(|| bar(size)), told: Instant::now() }
    }

    fn update(&mut self, written: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(written);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            remark(&format!("{} of {} written", grouped(written), counted(self.size, "byte")));
        }
    }

    /// Takes the bar away.
    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(size: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{bar:32} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}");
    bar.with_style(style.expect("the template is well formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_for_a_shell_only_if_it_must_be() {
        let quoted = ["r0.chronon", "/var/lib/r 0", "it's"].map(|name| quoted(Path::new(name)));
        assert_eq!(quoted, ["r0.chronon", "'/var/lib/r 0'", r"'it'\''s'"]);
    }
}
