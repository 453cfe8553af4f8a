//! `dev`: a whole cluster in one command, to try things out.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chronon::{
    app::{application::Application, bank::Bank, jobs::Jobs, kv::Kv},
    storage::layout::Layout,
};
use chronon_production::{
    config::{self, LogConfig, LogFormat},
    local::{LocalCluster, LocalError, data_file},
    sinks::Sinks,
};

use super::{
    log,
    output::{Status, Trouble, remark, say},
    start::{self, Demo},
};

/// A journal of 64 MiB and as much for checkpoints, for each replica: a first try is quick to make.
const LAYOUT: Layout =
    Layout { slot_count: 1024, message_size_max: 64 * 1024, block_count: 1024, block_size: 64 * 1024 };

/// How often it is looked at whether to end.
const LOOK: Duration = Duration::from_millis(100);

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Run a whole cluster in this process, on free ports of the loopback, until Ctrl-C
///
/// Prints where it is, with a line to try it, and serves. Without --folder its files go when it ends; with one, they are there
/// the next time.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many replicas
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=6))]
    replicas: u8,

    /// Where the data files lie; made there if there are none
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// What runs in the cluster
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Demo::Kv)]
    application: Demo,

    /// What the effects of a channel are done by, as in --sink others=file:letters.jsonl or --sink 0=http://127.0.0.1:8080/letters;
    /// may be repeated
    #[arg(long, value_name = "CHANNEL=SINK")]
    sink: Vec<String>,

    /// Log what the replicas do
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    ctrlc::set_handler(|| IS_INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| Trouble::machine(format!("Ctrl-C cannot be heeded: {error}")))?;
    let level = if arguments.verbose { tracing::Level::INFO } else { tracing::Level::WARN };
    log::begin(&LogConfig { level, format: LogFormat::Text });
    let sinks = config::sinks(&arguments.sink).map_err(Trouble::usage)?;
    match arguments.application {
        Demo::Kv => run(&Kv, arguments, &sinks),
        Demo::Bank => run(&Bank, arguments, &sinks),
        Demo::Branch => run(&start::branch(), arguments, &sinks),
        Demo::Jobs => run(&Jobs::default(), arguments, &sinks),
    }
}

fn run<A: Application>(application: &A, arguments: &Arguments, sinks: &Sinks) -> Result<Status, Trouble> {
    let lasting = arguments.folder.is_some();
    let temporary = || std::env::temp_dir().join(format!("chronon-dev-{}", std::process::id()));
    let folder = arguments.folder.clone().unwrap_or_else(temporary);
    let missing = (0..arguments.replicas).filter(|replica| !data_file(&folder, *replica).exists()).count();
    if missing == usize::from(arguments.replicas) {
        remark(&format!("making the data files in {}", folder.display()));
    }
    let status = LocalCluster::start(application, &folder, arguments.replicas, LAYOUT, |options| {
        options.sinks = sinks.clone();
    })
    .map_err(|error| match error {
        LocalError::Replicas { .. } => Trouble::usage(error),
        _ => Trouble::machine(error),
    })
    .and_then(|cluster| serve(&cluster, arguments.application));
    if !lasting && let Err(error) = std::fs::remove_dir_all(&folder) {
        remark(&format!("{} could not be removed: {error}", folder.display()));
    }
    status
}

fn serve(cluster: &LocalCluster, application: Demo) -> Result<Status, Trouble> {
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let addresses = addresses.join(",");
    let try_it = match application {
        Demo::Kv => format!("chronon kv --addresses {addresses} put greeting hello"),
        Demo::Bank | Demo::Branch => format!("chronon bank --addresses {addresses}"),
        Demo::Jobs => format!("chronon jobs --addresses {addresses} add dishes"),
    };
    say(&format!("{}\n\n  {try_it}\n  chronon status --addresses {addresses}\n", words(cluster)))?;
    loop {
        if IS_INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(Status::Interrupted);
        }
        if let Some((replica, reason)) = cluster.wait(LOOK) {
            let sentence = format!("replica {replica} stopped: {reason}");
            return Err(Trouble { status: Status::from(&reason), sentence });
        }
    }
}

fn words(cluster: &LocalCluster) -> String {
    let replicas = super::number::counted(cluster.addresses().len() as u64, "replica");
    format!("cluster 0x{:x} of {replicas} serves until Ctrl-C; try it from another terminal:", cluster.cluster().0)
}
