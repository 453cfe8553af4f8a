//! A replica as a server: a data file, a port, an application.
//!
//! ```no_run
//! # use chronon::app::kv::Kv;
//! # use chronon_production::serve::{Options, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"].map(|text| text.parse());
//! let options = Options::new("replica-0.chronon", addresses.into_iter().collect::<Result<_, _>>()?);
//! Server::open(Kv, &options)?.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! Crash-only: there is no shutting down. Whatever was acknowledged is durable, so that being killed at any moment loses what a
//! request to stop would lose: nothing.

mod error;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chronon::{
    app::application::Application,
    env::Clock,
    frame::Frame,
    replica::{Replica, fits},
    storage::{
        layout::Layout,
        superblock::{ApplicationName, Superblock},
    },
    types::Checksum,
    vsr::{Config, Timeouts},
};

use crate::{
    clock::SystemClock,
    data_file::{DataFile, DataFileError},
    descriptors,
    disk::{Disk, DiskChoice, HostDisk},
    inspect::{self, Unopened},
    meter::Meter,
    metrics::{self, Metrics, Port},
    runner::{Runner, Stop},
    sinks::Sinks,
    status::{Effects, Status},
    tcp::{CONNECTIONS_MAX, Limits, SocketChoice, Sockets, Speaker, TcpConfig, TcpNetwork},
    timed_disk::TimedDisk,
    uring::DurableMode,
};

pub use error::ServeError;

/// How often whoever wants a server to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// No frame that replicas exchange is larger than this or than the largest message; nor is what a replica says of itself.
pub(crate) const FRAME_SIZE_MIN: u32 = 64 * 1024;

/// How many sessions a cluster has room for unless its files say otherwise.
pub const CLIENTS_MAX: u32 = 4096;

/// How a replica serves. Which replica of which cluster it is, its data file says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data file, as `format` made it.
    pub data: PathBuf,
    /// The replicas' addresses, in their order.
    pub addresses: Vec<SocketAddr>,
    /// Where to listen, if that is not the replica's own address.
    pub listen: Option<SocketAddr>,
    /// Where metrics are scraped from; nowhere if none.
    pub metrics: Option<SocketAddr>,
    /// Which disk.
    pub disk: DiskChoice,
    /// How durable writes are made so over io_uring.
    pub durable: DurableMode,
    /// How sockets are waited for.
    pub sockets: SocketChoice,
    /// Prepares in flight at once: see [`Config::pipeline`].
    pub pipeline: u32,
    /// How many requests wait for company: see [`Config::company`].
    pub company: u32,
    /// Requests in flight or waiting: see [`Config::requests_max`].
    pub requests_max: u32,
    /// Queries that a primary holds: see [`Config::queries_max`].
    pub queries_max: u32,
    /// How many bytes may wait to be sent on one connection, and to be taken of all clients or of all replicas: see
    /// [`Limits::queue_bytes_max`].
    pub queue_bytes_max: usize,
    /// How many connections there may be at once, as far as the system's limit of open files leaves room for them: see
    /// [`TcpConfig::connections_max`].
    pub connections_max: usize,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// What effects are done by: the same on each replica.
    pub sinks: Sinks,
}

impl Options {
    /// The usual limits and time-outs.
    pub fn new(data: impl Into<PathBuf>, addresses: Vec<SocketAddr>) -> Self {
        Self {
            data: data.into(),
            addresses,
            listen: None,
            metrics: None,
            disk: DiskChoice::default(),
            durable: DurableMode::default(),
            sockets: SocketChoice::default(),
            pipeline: 8,
            company: 3,
            requests_max: 4096,
            queries_max: 4096,
            queue_bytes_max: 16 * 1024 * 1024,
            connections_max: CONNECTIONS_MAX,
            timeouts: Timeouts::default(),
            sinks: Sinks::default(),
        }
    }
}

/// A replica that can serve: its file is open and locked, its port is taken. It serves on the thread that opened it, for the ring
/// is that thread's.
pub struct Server<A: Application> {
    runner: Runner<Replica<A>, TimedDisk<Disk>, Sockets>,
    meter: Meter,
    /// How the disk is used, in words.
    disk: &'static str,
    address: SocketAddr,
    /// Where metrics are scraped from, for as long as this is.
    _scraped: Option<Port>,
}

impl<A: Application> Server<A> {
    /// Opens the data file and takes the port. What the process may have open at once is raised to its hard limit.
    ///
    /// # Errors
    /// If this replica cannot serve; nothing was changed then.
    pub fn open(application: A, options: &Options) -> Result<Self, ServeError> {
        Self::open_with(application, options, |superblock| {
            // There is an address for each replica by then.
            let address = options.listen.unwrap_or_else(|| options.addresses[usize::from(superblock.replica.0)]);
            TcpListener::bind(address).map_err(|error| ServeError::Listen(address, error))
        })
    }

    /// The same with a port that was taken already.
    ///
    /// # Errors
    /// If this replica cannot serve.
    pub fn open_on(application: A, options: &Options, listener: TcpListener) -> Result<Self, ServeError> {
        Self::open_with(application, options, |_| Ok(listener))
    }

    fn open_with(
        application: A,
        options: &Options,
        listen: impl FnOnce(&Superblock) -> Result<TcpListener, ServeError>,
    ) -> Result<Self, ServeError> {
        let file = DataFile::open(&options.data)?;
        let superblock = read_superblock(&file)?;
        check_application(&application, &superblock, &options.data)?;
        fits(&application, &superblock.layout).map_err(|misfit| ServeError::Misfit(options.data.clone(), misfit))?;
        if options.addresses.len() != usize::from(superblock.replica_count) {
            let (addresses, replicas) = (options.addresses.len(), superblock.replica_count);
            return Err(ServeError::Addresses { addresses, replicas });
        }
        options.sinks.prepare().map_err(|(what, error)| ServeError::Sink(what, error))?;
        let listener = listen(&superblock)?;
        let address = listener.local_addr()?;
        let Superblock { cluster, replica, .. } = superblock;
        let metrics = Arc::new(Metrics::new(cluster.0, replica.0));
        let scraped = options.metrics.map(|address| {
            metrics::serve(Arc::clone(&metrics), address).map_err(|error| ServeError::Metrics(address, error))
        });
        let scraped = scraped.transpose()?;
        if let Some(port) = &scraped {
            tracing::info!("metrics at http://{}/metrics", port.address());
        }
        let speaker = Speaker::Replica(replica);
        let limits = limits(options, &superblock);
        let tcp = TcpConfig {
            terms: terms(&superblock),
            connections_max: descriptors::room_for(options.connections_max),
            ..TcpConfig::new(cluster, speaker, options.addresses.clone(), limits)
        };
        let (disk, no_ring) = Disk::open(file, options.disk, options.durable)?;
        let (sockets, not_there) = Sockets::open(options.sockets, disk.ring()).map_err(ServeError::Sockets)?;
        for why in no_ring.into_iter().chain(not_there) {
            tracing::warn!("{why}");
        }
        let words = match (&disk, options.durable) {
            (Disk::Sync(_), _) => "plain system calls",
            (Disk::Uring(_), DurableMode::DataSync) => "io_uring, data-synchronous writes",
            (Disk::Uring(_), DurableMode::LinkedSync) => "io_uring, linked syncs",
        };
        let waiting = match &sockets {
            Sockets::Uring(_) => "io_uring",
            Sockets::Readiness(_) => "by readiness",
        };
        let network = TcpNetwork::over(sockets, tcp, Some(listener))?;
        tracing::info!(cluster = cluster.0, replica = replica.0, %address, disk = words, sockets = waiting, "serving");
        let disk = TimedDisk::new(disk, metrics.durable_write_latency.clone());
        let process = Replica::new(config(options, &superblock), application);
        let runner = Runner::with_sinks(process, network, disk, options.sinks.clone())?;
        Ok(Self { runner, meter: Meter::new(metrics), disk: words, address, _scraped: scraped })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// If the replica can serve no longer.
    pub fn run(&mut self) -> Result<(), Stop> {
        loop {
            self.turn(Duration::MAX)?;
        }
    }

    /// Serves until `stop` is set, which is looked at a few times a second.
    ///
    /// # Errors
    /// If the replica can serve no longer.
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<(), Stop> {
        while !stop.load(Ordering::Relaxed) {
            self.turn(LOOK)?;
        }
        Ok(())
    }

    fn turn(&mut self, patience: Duration) -> Result<(), Stop> {
        self.runner.turn(&mut self.meter, patience)?;
        self.answer_operators();
        if self.meter.is_due() {
            let (network, disk) = (self.runner.network().queues(), self.runner.disk().under_way());
            let queues = network.map(|(name, length, _)| (name, length)).into_iter().chain([("disk operations", disk)]);
            let counts = self.runner.network().counts();
            self.meter.publish(self.runner.process(), queues, counts, self.runner.workers().tally());
        }
        Ok(())
    }

    fn answer_operators(&mut self) {
        while let Some(operator) = self.runner.network().asked() {
            let counts = self.runner.network().counts();
            let (outbox, workers) = (self.runner.process().executor().outbox(), self.runner.workers());
            let effects = Effects::of(outbox, workers.tally(), workers.troubles());
            let now = SystemClock.monotonic();
            let queues = self.runner.network().queues();
            let network = self.runner.network();
            let speaks_with = Some(network.replicas().map(|replica| replica.0).collect());
            let refusals = network.refusals().into_iter().map(Into::into).collect();
            let status = Status::of(self.runner.process(), now, self.disk, &queues, &counts, effects);
            let status = Status { speaks_with, refusals, ..status };
            let answer = serde_json::to_vec(&status).expect("a status has no map with keys that are no text");
            chronon::env::Network::send(self.runner.network(), operator, Frame::new(answer));
        }
    }
}

/// Whether the file is of that application. One that does not say its name is given any file, and takes a file without a name, too.
fn check_application(application: &impl Application, superblock: &Superblock, path: &Path) -> Result<(), ServeError> {
    let name = application.name();
    let expected = ApplicationName::new(name).map_err(|error| ServeError::ApplicationName(name, error))?;
    let found = superblock.application;
    if found == expected || found.is_none() || expected.is_none() {
        return Ok(());
    }
    Err(ServeError::Application { path: path.to_owned(), found, expected })
}

/// What a connection may hold: in any case a few of the largest frames.
fn limits(options: &Options, superblock: &Superblock) -> Limits {
    let frame_size_max = superblock.layout.message_size_max.max(FRAME_SIZE_MIN);
    Limits { frame_size_max, queue_bytes_max: options.queue_bytes_max.max(4 * frame_size_max as usize) }
}

/// What all replicas were formatted with, in one number: which session is evicted is part of the state, what one logs all must
/// have room for and the same application executes, and a state is cut into the same chunks everywhere.
fn terms(superblock: &Superblock) -> u32 {
    let Superblock { layout, clients_max, application, .. } = superblock;
    let Layout { slot_count, message_size_max, block_count, block_size } = *layout;
    let bytes = [slot_count, message_size_max, block_count, block_size, *clients_max].map(u32::to_le_bytes);
    Checksum::of(&[bytes.as_flattened(), &application.to_bytes()].concat()).0 as u32
}

fn config(options: &Options, superblock: &Superblock) -> Config {
    Config {
        pipeline: options.pipeline,
        company: options.company,
        requests_max: options.requests_max,
        queries_max: options.queries_max,
        timeouts: options.timeouts,
        ..Config::of(superblock)
    }
}

/// What the data file of that name says of itself, which a replica would serve from.
///
/// # Errors
/// If none can, as [`Server::open`] would say it.
pub fn identify(path: &Path) -> Result<Superblock, ServeError> {
    read_superblock(&DataFile::open(path)?)
}

/// What the data file of that name says of itself, if there is one that says anything.
///
/// # Errors
/// If there is one that is served from, or that the system does not give.
pub(crate) fn superblock_of(path: &Path) -> Result<Option<Superblock>, DataFileError> {
    match DataFile::open_to_read(path) {
        Ok(file) => Ok(read_superblock(&file).ok()),
        Err(DataFileError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the data file says of itself, if enough of it is whole.
fn read_superblock(file: &DataFile) -> Result<Superblock, ServeError> {
    let path = || file.path().to_owned();
    let superblock = inspect::opened(file).map_err(|why| match why {
        Unopened::Refused(error) => ServeError::Superblock(path(), error),
        Unopened::Unread(error) => ServeError::Unreadable(path(), error),
    })?;
    let (size, expected) = (file.size(), superblock.layout.size());
    if size != expected {
        return Err(ServeError::Size { path: path(), size, expected });
    }
    Ok(superblock)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn what_the_disk_does_not_give_is_said_to_be_unreadable_and_not_lost() {
        let unreadable = File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let error = read_superblock(&DataFile::over(unreadable, 1 << 20)).unwrap_err();
        assert!(matches!(error, ServeError::Unreadable(..)), "{error}");
        let said = error.to_string();
        assert!(said.contains("cannot be read") && !said.contains("recover"), "{said}");
    }
}
