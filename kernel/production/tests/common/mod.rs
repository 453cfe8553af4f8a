//! A cluster in this process, for tests: each replica a thread, on loopback, over a data file of its own.
//!
//! A replica is stopped without being told, as a process is that is killed, but for what its disk still writes.

mod addresses;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use chronon::{
    app::application::Application,
    storage::layout::Layout,
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile,
    serve::{CLIENTS_MAX, Options, Server},
    status::{self, State, Status},
};

pub(crate) use addresses::own_addresses;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xC1);

/// Room for what one test asks; small, for the file is written whole.
pub(crate) const LAYOUT: Layout =
    Layout { slot_count: 1024, message_size_max: 20 * 1024, block_count: 1024, block_size: 16 * 1024 };

/// No test waits so long for anything unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in this process.
pub(crate) struct Cluster<A: Application> {
    application: A,
    replicas: Vec<Replica>,
    addresses: Vec<SocketAddr>,
}

struct Replica {
    options: Options,
    /// None while it is stopped.
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl<A: Application> Cluster<A> {
    /// So many replicas, all of them serving. `name` is the test's own.
    pub(crate) fn start(name: &str, replicas: u8, application: A) -> Self {
        Self::start_with(name, replicas, application, |_, _| {})
    }

    /// The same with data files that are formatted otherwise, and served from otherwise.
    pub(crate) fn start_with(
        name: &str,
        replicas: u8,
        application: A,
        change: impl Fn(&mut Config, &mut Options),
    ) -> Self {
        let addresses = own_addresses(usize::from(replicas));
        let mut cluster = Self { application, replicas: Vec::new(), addresses };
        for replica in 0..replicas {
            let file = format!("{name}-{replica}-{}", std::process::id());
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
            let _ = std::fs::remove_file(&path);
            let usual = Config::new(CLUSTER, ReplicaId(replica), replicas, LAYOUT);
            let mut config = Config { clients_max: CLIENTS_MAX, ..usual };
            let mut options = Options::new(path, cluster.addresses.clone());
            change(&mut config, &mut options);
            DataFile::create(&options.data, LAYOUT.size(), &config.format(1)).unwrap();
            cluster.replicas.push(Replica { options, running: None });
            cluster.start_replica(usize::from(replica));
        }
        cluster
    }

    fn serve(&mut self, replica: usize, listener: TcpListener) {
        let Replica { options, running } = &mut self.replicas[replica];
        let stop = Arc::new(AtomicBool::new(false));
        let (application, options, stopped) = (self.application.clone(), options.clone(), Arc::clone(&stop));
        // A server stays on the thread that opened it.
        let thread = std::thread::spawn(move || {
            Server::open_on(application, &options, listener).unwrap().run_until(&stopped).unwrap();
        });
        *running = Some((stop, thread));
    }

    /// The replicas' addresses.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops a replica. Its port is closed when this returns.
    pub(crate) fn stop(&mut self, replica: usize) {
        let (stop, thread) = self.replicas[replica].running.take().expect("it runs");
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }

    /// Starts a replica that does not run, for the first time or again, on its own port.
    pub(crate) fn start_replica(&mut self, replica: usize) {
        let address = self.addresses[replica];
        let listener = within("its port is free", || TcpListener::bind(address).ok());
        self.serve(replica, listener);
    }

    /// Waits until all replicas that run are in one view, and one of them is its primary: that one.
    pub(crate) fn primary(&self) -> usize {
        within("the replicas agree on a primary", || {
            let running = self.replicas.iter().zip(&self.addresses).filter(|(replica, _)| replica.running.is_some());
            let said = running.map(|(_, address)| status::ask(*address, PATIENCE).ok());
            let said: Vec<Status> = said.collect::<Option<_>>()?;
            let settled = |status: &Status| matches!(status.state, State::Primary | State::Backup);
            let agreed = said.iter().all(|status| settled(status) && status.view == said[0].view);
            let primary = said.iter().find(|status| status.state == State::Primary)?;
            agreed.then_some(usize::from(primary.replica))
        })
    }
}

impl<A: Application> Drop for Cluster<A> {
    fn drop(&mut self) {
        for Replica { running, .. } in &self.replicas {
            running.iter().for_each(|(stop, _)| stop.store(true, Ordering::Relaxed));
        }
        for Replica { options, running } in &mut self.replicas {
            if let Some((_, thread)) = running.take() {
                // One that failed has said so, and the test fails by what that did.
                let _ = thread.join();
            }
            let _ = std::fs::remove_file(&options.data);
        }
    }
}

/// Tries again until there is something.
pub(crate) fn within<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(reached) = attempt() {
            return reached;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// Each program of tests uses its part of this.
const _: () = {
    fn all_of_it<A: Application>(cluster: &mut Cluster<A>) {
        cluster.stop(cluster.primary());
        cluster.start_replica(cluster.addresses().len());
    }
    let _ = all_of_it::<chronon::app::kv::Kv>;
    let _ = Cluster::<chronon::app::kv::Kv>::start;
};
