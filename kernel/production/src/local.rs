//! A whole cluster in one process, on free ports of the loopback: to try things out, and for tests.
//!
//! Each replica is a server on a thread of its own with a data file of its own, as if it were alone. Deliberately absent:
//! everything that makes a cluster worth having; one machine is one machine.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use chronon::{
    app::application::Application,
    storage::{
        layout::Layout,
        superblock::{self, ApplicationName, Identity},
    },
    types::{ClusterId, ReplicaId},
};

use crate::{
    data_file::{DataFile, DataFileError},
    runner::{self, Stop},
    serve::{CLIENTS_MAX, Options, ServeError, Server},
};

/// Why there is no cluster.
#[derive(Debug)]
pub enum LocalError {
    /// A data file cannot be made.
    Format(DataFileError),
    /// The folder holds the files of a cluster of another size.
    Replicas {
        /// The folder.
        folder: PathBuf,
        /// How many replicas were asked for.
        asked: u8,
        /// Of how many the files are.
        found: u8,
    },
    /// A replica does not serve.
    Serve(u8, ServeError),
    /// The system refused.
    System(&'static str, io::Error),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Replicas { folder, asked, found } => write!(
                f,
                "{} holds a cluster with {found} for its number of replicas, and not {asked}: ask for as many (`--replicas {found}`), or \
                 choose another folder",
                folder.display()
            ),
            Self::Serve(replica, error) => write!(f, "replica {replica}: {error}"),
            Self::System(doing, error) => write!(f, "cannot {doing}: {error}"),
        }
    }
}

impl std::error::Error for LocalError {}

/// A cluster that serves for as long as this is.
pub struct LocalCluster {
    cluster: ClusterId,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    stopped: Receiver<(u8, Stop)>,
}

impl LocalCluster {
    /// Starts `replicas` of them with their data files in `folder`, which are made if there are none. `adjust` may change how
    /// each serves.
    ///
    /// # Errors
    /// If not every one of them can serve; none does then.
    pub fn start<A: Application>(
        application: &A,
        folder: &Path,
        replicas: u8,
        layout: Layout,
        adjust: impl Fn(&mut Options),
    ) -> Result<Self, LocalError> {
        let listeners = (0..replicas)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| LocalError::System("take a port of the loopback", error))?;
        let addresses = (listeners.iter().map(TcpListener::local_addr))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| LocalError::System("tell a port's address", error))?;
        let cluster = format(application, folder, replicas, layout)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ((tell, stopped), (report, opened)) = (channel(), channel());
        let mut started = Self { cluster, addresses, stop, threads: Vec::new(), stopped };
        for (replica, listener) in (0..replicas).zip(listeners) {
            let mut options = Options::new(data_file(folder, replica), started.addresses.clone());
            adjust(&mut options);
            let application = application.clone();
            let (stop, tell, report) = (Arc::clone(&started.stop), tell.clone(), report.clone());
            // On its own thread from the beginning: a server stays where it was opened. Nobody may be left to be told.
            let work = move || match Server::open_on(application, &options, listener) {
                Err(error) => drop(report.send(Err(LocalError::Serve(replica, error)))),
                Ok(mut server) => {
                    let _ = report.send(Ok(()));
                    // Whoever waits for the others is not to wait for this one to end, if one of them says nothing.
                    drop(report);
                    if let Err(reason) = server.run_until(&stop) {
                        let _ = tell.send((replica, reason));
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("replica {replica}")).spawn(work);
            started.threads.push(thread.map_err(|error| LocalError::System("start a thread", error))?);
        }
        drop(report);
        for _ in 0..replicas {
            let gone = || Err(LocalError::System("open a replica", io::Error::other("it panicked: see above")));
            opened.recv().unwrap_or_else(|_| gone())?;
        }
        Ok(started)
    }

    /// Which cluster it is.
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The replicas' addresses, in their order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until a replica serves no longer, or until `patience` is over. Which, and why.
    pub fn wait(&self, patience: Duration) -> Option<(u8, Stop)> {
        // Each thread that ends in order has said why. What panicked without that was not the application.
        let gone = |words: &str| Stop::Halted(format!("{words}: see above"));
        match self.stopped.recv_timeout(patience) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Timeout) => {
                let panicked = self.threads.iter().position(JoinHandle::is_finished)?;
                Some((panicked as u8, gone("it panicked")))
            }
            Err(RecvTimeoutError::Disconnected) => Some((0, gone("every replica panicked"))),
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Where a replica's data file lies.
pub fn data_file(folder: &Path, replica: u8) -> PathBuf {
    folder.join(format!("replica-{replica}.chronon"))
}

/// Makes the data files that there are not. The cluster is the one whose files there are, or a new one.
fn format(
    application: &impl Application,
    folder: &Path,
    replicas: u8,
    layout: Layout,
) -> Result<ClusterId, LocalError> {
    let name = application.name();
    let application =
        ApplicationName::new(name).map_err(|error| LocalError::Serve(0, ServeError::ApplicationName(name, error)))?;
    let random = || runner::random().map_err(|error| LocalError::System("draw a random number", error));
    std::fs::create_dir_all(folder).map_err(|error| LocalError::System("make the folder", error))?;
    let mut known = None;
    for replica in 0..replicas {
        known = known.or(crate::serve::superblock_of(&data_file(folder, replica)).map_err(LocalError::Format)?);
    }
    if let Some(found) = known.as_ref().map(|superblock| superblock.replica_count).filter(|found| *found != replicas) {
        return Err(LocalError::Replicas { folder: folder.to_owned(), asked: replicas, found });
    }
    let cluster = match known {
        Some(superblock) => superblock.cluster,
        None => ClusterId(random()? as u64),
    };
    for replica in 0..replicas {
        let path = data_file(folder, replica);
        let identity = Identity { cluster, replica: ReplicaId(replica), replica_count: replicas, application };
        let blocks = superblock::format(identity, random()?.max(1), layout, CLIENTS_MAX);
        match DataFile::create(&path, layout.size(), &blocks) {
            Ok(()) | Err(DataFileError::Exists(_)) => {}
            Err(error) => return Err(LocalError::Format(error)),
        }
    }
    Ok(cluster)
}
