//! Real processes whose application panics: each stops before that request, says which it was, and ends with a status of its own;
//! started again with an application that can take the request, they go on, and who asked is answered, once.
//!
//! The program is test and server in one, for a server of one's own is a program of one's own: without `serve` it is the test.

#[path = "common/addresses.rs"]
mod addresses;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        number::Number,
    },
    storage::layout::Layout,
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile, client,
    serve::{Options, Server},
};

use addresses::own_addresses;

const NAME: &str = "a_poison_pill_stops_every_process_and_a_mended_application_goes_on";
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 256, block_size: 16 * 1024 };

/// Nothing takes so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds one for each request. It has begun when it finds out that it does not know the magic one.
fn count(state: &mut u64, event: Event<'_>, _: &ApplyContext, outcome: &mut Outcome) -> Result<(), Rejection> {
    let Event::Request { payload } = event else { return Ok(()) };
    *state += 1;
    assert!(payload != b"magic", "no such\nmagic");
    outcome.response.extend_from_slice(&state.to_le_bytes());
    Ok(())
}

/// The next version of it.
fn count_mended(state: &mut u64, event: Event<'_>, _: &ApplyContext, outcome: &mut Outcome) -> Result<(), Rejection> {
    let Event::Request { payload } = event else { return Ok(()) };
    *state += if payload == b"magic" { 1_000 } else { 1 };
    outcome.response.extend_from_slice(&state.to_le_bytes());
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, version, data, addresses @ ..] = &arguments[..]
        && command == "serve"
    {
        return serve(Number::new(if version == "mended" { count_mended } else { count }), data, addresses);
    }
    // What the usual harness makes of its arguments: a flag is nothing to this one, a word chooses tests by their names.
    let mut words = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let chosen = words.peek().is_none() || words.any(|word| NAME.contains(word.as_str()));
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
    } else if chosen {
        the_test();
        println!("test {NAME} ... ok");
    }
    ExitCode::SUCCESS
}

fn serve(application: Number, data: &str, addresses: &[String]) -> ExitCode {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let mut server = Server::open(application, &Options::new(data, addresses)).unwrap();
    let Err(stop) = server.run() else { return ExitCode::SUCCESS };
    eprintln!("{stop}");
    ExitCode::from(stop.exit_status())
}

/// A cluster of processes of this program. They are killed when it goes.
struct Cluster {
    files: Vec<PathBuf>,
    addresses: Vec<SocketAddr>,
    processes: Vec<Child>,
}

impl Cluster {
    fn format(folder: &PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).unwrap();
        let files: Vec<PathBuf> = (0..3).map(|replica| folder.join(format!("replica-{replica}"))).collect();
        for (replica, file) in (0..).map(ReplicaId).zip(&files) {
            let blocks = Config::new(ClusterId(0xB111), replica, 3, LAYOUT).format(1);
            DataFile::create(file, LAYOUT.size(), &blocks).unwrap();
        }
        Self { files, addresses: own_addresses(3), processes: Vec::new() }
    }

    fn start(&mut self, version: &str) {
        let start = |file: &PathBuf| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["serve", version]).arg(file).args(self.addresses.iter().map(ToString::to_string));
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        self.processes = self.files.iter().map(start).collect();
    }

    /// Waits until every one has ended by itself: with which status, and what it said.
    fn ends(&mut self) -> Vec<(Option<i32>, String)> {
        let end = |child: Child| {
            let output = child.wait_with_output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        std::mem::take(&mut self.processes).into_iter().map(end).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut child in self.processes.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn the_test() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("poison-pill-{}", std::process::id()));
    let mut cluster = Cluster::format(&folder);
    cluster.start("first");
    let options = client::Options { patience: PATIENCE, sessions: 1, ..client::Options::default() };
    let client = client::Client::connect(&cluster.addresses, options).unwrap();
    let counted = |answer: client::Answer| u64::from_le_bytes(answer.result.unwrap()[..].try_into().unwrap());
    let mut op = 0;
    for number in 1..=30 {
        let answer = client.request("an ordinary one").unwrap();
        op = answer.op.0;
        assert_eq!(counted(answer), number);
    }
    let pill = op + 1;
    let outstanding = client.submit("magic");
    for (status, said) in cluster.ends() {
        let told =
            format!("the application panicked in op{pill}: no such; magic; op{pill} is committed and stays in the log");
        assert!(said.contains(&told), "{said}");
        assert_eq!(status, Some(4), "a status of its own: {said}");
    }
    cluster.start("mended");
    let answer = outstanding.wait().unwrap();
    assert_eq!((answer.op.0, counted(answer)), (pill, 1_030));
    assert_eq!(counted(client.request("another one").unwrap()), 1_031, "it was done once");
    drop((client, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}
