//! Replicas that are set up so that they cannot speak with each other: each says whom it refuses, why and what to do, once in its log and
//! at any time to an operator.

#[path = "common/addresses.rs"]
mod addresses;

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
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
    status::{self, Status},
};

use addresses::own_addresses;

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 256, block_size: 16 * 1024 };
/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes, each with a data file and a log. They are killed, and their files removed, when they go.
struct Processes {
    folder: PathBuf,
    addresses: Vec<SocketAddr>,
    children: Vec<Child>,
}

impl Processes {
    /// One replica of each of these clusters, which knows the addresses in the order that it is given.
    fn start(name: &str, replicas: &[(u64, [usize; 3])]) -> Self {
        let folder = format!("strangers-{name}-{}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut processes = Self { folder, addresses: own_addresses(replicas.len()), children: Vec::new() };
        for (replica, (cluster, order)) in replicas.iter().enumerate() {
            let path = processes.folder.join(format!("replica-{replica}"));
            let usual = Config::new(ClusterId(*cluster), ReplicaId(replica as u8), 3, LAYOUT);
            let blocks = Config { application: ApplicationName::new("kv").unwrap(), ..usual }.format(1);
            DataFile::create(&path, LAYOUT.size(), &blocks).unwrap();
            let known: Vec<String> = order.iter().map(|place| processes.addresses[*place].to_string()).collect();
            let mut command = Command::new(env!("CARGO_BIN_EXE_chronon"));
            command.args(["start", "--log-format", "text", "--listen", &processes.addresses[replica].to_string()]);
            command.args(["--addresses", &known.join(","), "--data"]).arg(&path);
            let log = File::create(processes.log(replica)).unwrap();
            processes.children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        }
        processes
    }

    fn log(&self, replica: usize) -> PathBuf {
        self.folder.join(format!("log-{replica}"))
    }

    /// Asks a replica again until what it says is as it should be.
    fn ask_until(&self, replica: usize, what: &str, reached: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let said = status::ask(self.addresses[replica], Duration::from_secs(5));
            match said {
                Ok(status) if reached(&status) => return status,
                _ => assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {said:?}"),
            }
            std::thread::yield_now();
        }
    }

    /// The lines of a replica's log that say of somebody that it is not spoken with.
    fn said(&self, replica: usize) -> Vec<String> {
        let log = std::fs::read_to_string(self.log(replica)).unwrap();
        let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("is not spoken with"));
        lines.map(str::to_owned).collect()
    }

    /// What `chronon status` prints, and whether it says by its exit that the cluster serves.
    fn status(&self, more: &[&str]) -> (bool, String) {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronon"));
        let output = command.args(["status", "--addresses", &addresses.join(",")]).args(more).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How often somebody refused that replica.
fn times(status: &Status, replica: u8) -> u64 {
    status.refusals.iter().filter(|refusal| refusal.replica == Some(replica)).map(|refusal| refusal.times).sum()
}

const ORDER: [usize; 3] = [0, 1, 2];

#[test]
fn a_replica_of_another_cluster_is_told_of_on_both_ends_and_the_status_does_not_hide_it() {
    let processes = Processes::start("cluster", &[(7, ORDER), (7, ORDER), (8, ORDER)]);
    for replica in [0, 1] {
        processes.ask_until(replica, "two of them are a majority", |status| status.commit > 0 || status.view > 0);
        processes.ask_until(replica, "the third dials again and again", |status| times(status, 2) >= 6);
    }
    let third = processes.ask_until(2, "it refuses both", |status| times(status, 0) >= 6 && times(status, 1) >= 6);
    assert_eq!((third.cluster, third.speaks_with), (8, Some(Vec::new())));
    for (replica, whom, why) in [
        (0, "replica 2 at 127.0.0.1:", "it is of cluster 8, and this is of cluster 7: "),
        (1, "replica 2 at 127.0.0.1:", "it is of cluster 8, and this is of cluster 7: "),
        (2, &format!("replica 0 at {} ", processes.addresses[0]), "it is of cluster 7, and this is of cluster 8: "),
        (2, &format!("replica 1 at {} ", processes.addresses[1]), "it is of cluster 7, and this is of cluster 8: "),
    ] {
        let said = processes.said(replica);
        let about: Vec<_> = said.iter().filter(|line| line.contains(whom) && line.contains(why)).collect();
        assert_eq!(about.len(), 1, "r{replica} says once that {whom} is not spoken with: {said:#?}");
    }
    let served = |more: &[&str]| {
        let began = Instant::now();
        loop {
            let (serves, text) = processes.status(more);
            if serves {
                return text;
            }
            assert!(began.elapsed() < PATIENCE, "two of three serve: {text}");
        }
    };
    let text = served(&[]);
    let third = processes.addresses[2];
    for line in [
        format!("replica 2 at {third} takes no part: it is of cluster 8, and the primary of 7"),
        format!(
            "replica 2 at {third} does not speak with replica 0 at {}: it is of cluster 7, ",
            processes.addresses[0]
        ),
        format!("replica 0 at {} does not speak with replica 2 at 127.0.0.1:", processes.addresses[0]),
        "the cluster serves, but 1 of 3 replicas takes no part".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    let json = served(&["--json"]);
    for part in [r#""takes_part":false"#, r#""cluster":8"#, r#""why":"it is of cluster 7, "#] {
        assert!(json.replace(": ", ":").contains(&part.replace(": ", ":")), "{part} is not in\n{json}");
    }
}

#[test]
fn a_replica_that_is_given_the_addresses_in_another_order_says_whom_it_found_where() {
    let processes = Processes::start("order", &[(7, ORDER), (7, ORDER), (7, [1, 0, 2])]);
    processes.ask_until(2, "it refuses both", |status| times(status, 0) >= 3 && times(status, 1) >= 3);
    let [first, second, _] = processes.addresses[..] else { unreachable!("three of them") };
    let mend = "give the addresses in the replicas' order";
    let lines = [
        format!("replica 0 at {second} is not spoken with: it says that it is replica 1, and 0 was dialled: {mend}"),
        format!("replica 1 at {first} is not spoken with: it says that it is replica 0, and 1 was dialled: {mend}"),
    ];
    let said = processes.said(2);
    assert!(
        said.len() == 2 && lines.iter().all(|line| said.iter().any(|said| said.ends_with(line))),
        "{lines:#?}, and no more: {said:#?}"
    );
}
