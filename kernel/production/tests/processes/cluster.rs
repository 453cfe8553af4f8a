//! A cluster of processes of the `chronon` program, each with a data file and a port of its own.

use std::{
    fs::File,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chronon::{
    storage::{layout::Layout, superblock::ApplicationName},
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile,
    status::{self, State, Status},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{addresses::own_addresses, load::Load, log, wire::Wires};

pub(crate) const CLUSTER: ClusterId = ClusterId(0xFA17);
pub(crate) const LAYOUT: Layout =
    Layout { slot_count: 8192, message_size_max: 16 * 1024 + 4096, block_count: 1024, block_size: 16 * 1024 };

/// Nothing takes so long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub(crate) fn chronon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_chronon"))
}

/// A cluster of processes. They are killed, and their files removed, when it goes.
pub(crate) struct Cluster {
    folder: PathBuf,
    layout: Layout,
    /// Where each listens.
    addresses: Vec<SocketAddr>,
    /// What each believes the addresses to be.
    known: Vec<Vec<SocketAddr>>,
    wires: Option<Wires>,
    mount: Option<PathBuf>,
    /// What else each is told.
    flags: Vec<Vec<String>>,
    processes: Vec<Option<Child>>,
}

impl Cluster {
    pub(crate) fn start(name: &str, replicas: u8) -> Self {
        Self::prepare(name, replicas, false, None).begin()
    }

    /// With data files of another layout.
    pub(crate) fn start_laid_out(name: &str, replicas: u8, layout: Layout) -> Self {
        Self::prepare_for("kv", name, replicas, layout, false, None).begin()
    }

    /// One for each of these flags, which it is given.
    pub(crate) fn start_each_with<S: AsRef<str>>(name: &str, flags: &[impl AsRef<[S]>]) -> Self {
        let mut cluster = Self::prepare(name, flags.len() as u8, false, None).expect("no mount is needed");
        let owned = |flags: &[S]| flags.iter().map(|flag| flag.as_ref().to_owned()).collect();
        cluster.flags = flags.iter().map(|flags| owned(flags.as_ref())).collect();
        Some(cluster).begin()
    }

    /// Each with the same flags.
    pub(crate) fn start_all_with(name: &str, replicas: u8, flags: &[String]) -> Self {
        let application = flags.iter().skip_while(|flag| *flag != "--application").nth(1);
        let application = application.map_or("kv", String::as_str);
        let cluster = Self::prepare_for(application, name, replicas, LAYOUT, false, None);
        let mut cluster = cluster.expect("no mount is needed");
        cluster.flags = vec![flags.to_vec(); usize::from(replicas)];
        Some(cluster).begin()
    }

    /// Between each two replicas a wire that can be cut.
    pub(crate) fn start_wired(name: &str, replicas: u8) -> Self {
        Self::prepare(name, replicas, true, None).begin()
    }

    /// The data file of one replica lies on a mount of its own, with holes where nothing was written yet. None where mounts
    /// cannot be made: that is said.
    pub(crate) fn start_on_small_mount(name: &str, replicas: u8, victim: u8) -> Option<Self> {
        let mount = folder(name).join("mount");
        let _ = Command::new("umount").arg(&mount).stderr(Stdio::null()).status();
        let cluster = Self::prepare(name, replicas, false, Some((mount.clone(), victim)))?;
        Some(Some(cluster).begin())
    }

    fn prepare(name: &str, replicas: u8, wired: bool, small: Option<(PathBuf, u8)>) -> Option<Self> {
        Self::prepare_for("kv", name, replicas, LAYOUT, wired, small)
    }

    fn prepare_for(
        application: &str,
        name: &str,
        replicas: u8,
        layout: Layout,
        wired: bool,
        small: Option<(PathBuf, u8)>,
    ) -> Option<Self> {
        let folder = folder(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let addresses = own_addresses(usize::from(replicas));
        let wires = wired.then(|| Wires::between(&addresses));
        let known = match &wires {
            Some(wires) => (0..replicas).map(|replica| wires.known_by(replica, &addresses)).collect(),
            None => vec![addresses.clone(); usize::from(replicas)],
        };
        let processes = (0..replicas).map(|_| None).collect();
        let flags = vec![Vec::new(); usize::from(replicas)];
        let mut cluster = Self { folder, layout, addresses, known, wires, mount: None, flags, processes };
        for replica in 0..replicas {
            match &small {
                Some((mount, victim)) if *victim == replica => {
                    if !make_mount(mount) {
                        eprintln!("NOT TESTED: no right to mount a small file system here");
                        return None;
                    }
                    cluster.mount = Some(mount.clone());
                    make_with_holes(&cluster.data_file(replica), replica, replicas);
                }
                _ => {
                    let blocks = Config { layout, ..config_of(application, replica, replicas) }.format(1);
                    DataFile::create(&cluster.data_file(replica), layout.size(), &blocks).unwrap();
                }
            }
        }
        Some(cluster)
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn joined_addresses(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    pub(crate) const fn wires(&self) -> &Wires {
        self.wires.as_ref().expect("a wired cluster")
    }

    pub(crate) fn data_file(&self, replica: u8) -> PathBuf {
        let small = self.mount.as_ref().filter(|_| replica == 2);
        small.unwrap_or(&self.folder).join(format!("replica-{replica}"))
    }

    fn errors(&self, replica: u8) -> PathBuf {
        self.folder.join(format!("errors-{replica}"))
    }

    fn command(&self, replica: u8) -> Command {
        let mut command = chronon();
        let known: Vec<String> = self.known[usize::from(replica)].iter().map(ToString::to_string).collect();
        command.args(["start", "--log-format", "text", "--data"]).arg(self.data_file(replica));
        command.args(["--addresses", &known.join(","), "--listen", &self.addresses[usize::from(replica)].to_string()]);
        command.args(&self.flags[usize::from(replica)]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// What `recover` says for a replica, and whether it made a file.
    pub(crate) fn recover(&self, replica: u8) -> (bool, String) {
        let cluster = CLUSTER.0.to_string();
        let (number, count) = (replica.to_string(), self.processes.len().to_string());
        let mut command = chronon();
        command.args(["recover", "--cluster", &cluster, "--replica", &number, "--replicas", &count, "--data"]);
        command.arg(self.data_file(replica)).args(["--addresses", &self.joined_addresses()]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Starts a replica that does not run.
    pub(crate) fn restart(&mut self, replica: u8) {
        let errors = File::options().create(true).append(true).open(self.errors(replica)).unwrap();
        let child = self.command(replica).stderr(errors).spawn().unwrap();
        let before = self.processes[usize::from(replica)].replace(child);
        assert!(before.is_none(), "r{replica} runs already");
    }

    /// What a replica says that does not start.
    pub(crate) fn refusal(&self, replica: u8) -> String {
        let output = self.command(replica).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "it does not start");
        String::from_utf8(output.stderr).unwrap()
    }

    fn pid(&self, replica: u8) -> Pid {
        Pid::from_raw(self.process(replica) as i32).expect("processes are numbered from 1")
    }

    pub(crate) fn process(&self, replica: u8) -> u32 {
        self.processes[usize::from(replica)].as_ref().expect("it runs").id()
    }

    /// By SIGKILL.
    pub(crate) fn kill(&mut self, replica: u8) {
        let mut child = self.processes[usize::from(replica)].take().expect("it runs");
        let early = child.try_wait().unwrap();
        assert!(early.is_none(), "r{replica} ended by itself ({early:?}): {}", self.last_words(replica));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// By SIGTERM, all of them before one is waited for.
    pub(crate) fn terminate(&mut self, replicas: &[u8]) {
        replicas.iter().for_each(|replica| kill_process(self.pid(*replica), Signal::TERM).unwrap());
        for replica in replicas {
            let mut child = self.processes[usize::from(*replica)].take().expect("it runs");
            let ended = until("it ends when it is told to", || child.try_wait().unwrap());
            assert_eq!(ended.signal(), Some(Signal::TERM.as_raw()), "r{replica}: {}", self.last_words(*replica));
        }
    }

    pub(crate) fn stop(&self, replica: u8) {
        kill_process(self.pid(replica), Signal::STOP).unwrap();
    }

    pub(crate) fn go_on(&self, replica: u8) {
        kill_process(self.pid(replica), Signal::CONT).unwrap();
    }

    /// Waits until a replica ends by itself.
    pub(crate) fn wait_for_end(&mut self, replica: u8) {
        let mut child = self.processes[usize::from(replica)].take().expect("it runs");
        until("it ends by itself", || child.try_wait().unwrap());
    }

    pub(crate) fn last_words(&self, replica: u8) -> String {
        std::fs::read_to_string(self.errors(replica)).unwrap_or_default()
    }

    /// The replicas that run.
    pub(crate) fn up(&self) -> impl Iterator<Item = u8> {
        (0..).zip(&self.processes).filter(|(_, process)| process.is_some()).map(|(replica, _)| replica)
    }

    pub(crate) fn status(&self, replica: u8) -> Status {
        let address = self.addresses[usize::from(replica)];
        until("it says how it is", || status::ask(address, Duration::from_secs(5)).ok())
    }

    /// Who is the primary, once there is one that a majority follows.
    pub(crate) fn primary(&self) -> u8 {
        until("a majority follows a primary", || {
            let ask = |replica: u8| status::ask(self.addresses[usize::from(replica)], Duration::from_secs(1)).ok();
            let said: Vec<Status> = self.up().filter_map(ask).collect();
            let primary = said.iter().find(|status| status.state == State::Primary)?;
            let follow = said.iter().filter(|status| status.view == primary.view && status.state != State::ViewChange);
            (follow.count() > self.processes.len() / 2).then_some(primary.replica)
        })
    }

    /// The load's promises are kept, and all replicas hold one log.
    pub(crate) fn ends_well(self, load: Load) {
        load.end().judge(&self.addresses);
        self.must_agree();
    }

    /// All replicas, which run, come to hold one log.
    pub(crate) fn must_agree(mut self) {
        let replicas = self.processes.len() as u8;
        let committed = until("all have everything", || {
            let said: Vec<Status> = (0..replicas).map(|replica| self.status(replica)).collect();
            let commit = said.iter().map(|status| status.commit).max()?;
            // Held as well as known: what is executed was held.
            said.iter().all(|status| status.applied == commit && status.op == commit).then_some(commit)
        });
        for replica in 0..replicas {
            self.kill(replica);
        }
        let files: Vec<PathBuf> = (0..replicas).map(|replica| self.data_file(replica)).collect();
        log::must_agree(&files, &self.layout, committed);
    }

    pub(crate) fn fill_small_mount(&self) {
        let path = self.mount.as_ref().expect("there is one").join("filler");
        let mut filler = File::create(path).unwrap();
        let block = [1; 4096];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {}
    }

    pub(crate) fn empty_small_mount(&self) {
        std::fs::remove_file(self.mount.as_ref().expect("there is one").join("filler")).unwrap();
    }
}

trait Begin {
    fn begin(self) -> Cluster;
}

impl Begin for Option<Cluster> {
    fn begin(self) -> Cluster {
        let mut cluster = self.expect("a folder for its files");
        (0..cluster.processes.len() as u8).for_each(|replica| cluster.restart(replica));
        cluster.primary();
        cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut child in self.processes.iter_mut().filter_map(Option::take) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for replica in 0..self.processes.len() as u8 {
                eprintln!("--- r{replica} said:\n{}", self.last_words(replica));
            }
        }
        if let Some(mount) = &self.mount {
            let _ = Command::new("umount").arg(mount).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("processes-{name}-{}", std::process::id()))
}

fn make_mount(mount: &Path) -> bool {
    std::fs::create_dir_all(mount).unwrap();
    let made = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(mount).status();
    made.is_ok_and(|status| status.success())
}

/// Of a replica whose data file is of that application.
fn config_of(application: &str, replica: u8, replicas: u8) -> Config {
    let application = ApplicationName::new(application).unwrap();
    Config { application, ..Config::new(CLUSTER, ReplicaId(replica), replicas, LAYOUT) }
}

/// As `format` makes it, but that what is zeros takes no room yet.
fn make_with_holes(path: &Path, replica: u8, replicas: u8) {
    let file = File::create(path).unwrap();
    file.set_len(LAYOUT.size()).unwrap();
    for (offset, bytes) in config_of("kv", replica, replicas).format(1) {
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, offset).unwrap();
    }
}

/// Looks again until there is what is looked for.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
