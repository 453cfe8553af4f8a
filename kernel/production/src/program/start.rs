//! `start`: one replica, until it is killed.

use std::path::Path;

use chronon::app::{application::Application, bank::Bank, branch::Branch, effect::Policy, jobs::Jobs, kv::Kv};
use chronon::effect::Channel;
use chronon_production::{
    config::{Config, Flags},
    serve::{self, Server},
};

use super::{
    log,
    output::{Status, Trouble},
};

/// Run one replica, until it is killed: that loses nothing
///
/// The replica is the one whose data file it is given. Everything that it has acknowledged is durable, so that there is no
/// shutting down: end it as you like.
#[derive(clap::Args)]
#[command(after_help = "Every key of the configuration file, with its default, is in `chronon start --example`.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,

    /// What runs in the cluster: the data file says it, and is refused to any other
    #[arg(long, value_enum, value_name = "NAME")]
    application: Option<Demo>,

    /// Print a configuration file with every key, and end
    #[arg(long)]
    example: bool,
}

/// An application that comes with the program.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Demo {
    /// A key-value store
    Kv,
    /// Accounts and transfers
    Bank,
    /// A bank that writes a letter about each transfer: those about an account by the channel of its number, from 0 to 3, counted round
    Branch,
    /// A queue of jobs, each taken by one worker at a time
    Jobs,
}

impl Demo {
    /// The one of that name, if it comes with the program.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }
}

/// The branch of the bank as it is demonstrated. It pays no interest, so that money can be counted at any time.
pub(crate) fn branch() -> Branch {
    let letters = (0..4).map(|channel| (Channel(channel), Policy::EMIT)).collect();
    Branch { letters, periods: 0, ..Branch::default() }
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    if arguments.example {
        super::output::say(chronon_production::config::EXAMPLE.trim_end())?;
        return Ok(Status::Done);
    }
    let config = Config::load(&arguments.flags).map_err(Trouble::usage)?;
    log::begin(&config.log);
    match arguments.application.map_or_else(|| of_file(&config.options.data), Ok)? {
        Demo::Kv => serve(Kv, &config),
        Demo::Bank => serve(Bank, &config),
        Demo::Branch => serve(branch(), &config),
        Demo::Jobs => serve(Jobs::default(), &config),
    }
}

/// The application that the data file is of. Which it is nobody guesses: what was not read may be of any.
fn of_file(path: &Path) -> Result<Demo, Trouble> {
    let name = serve::identify(path)?.application;
    Demo::of_name(name.as_str()).ok_or_else(|| {
        let shown = path.display();
        Trouble::usage(if name.is_none() {
            format!("{shown} does not say which application it is of: say --application, as on the other replicas")
        } else {
            format!(
                "{shown} is of the application `{name}`, which does not come with this program: start it with its own"
            )
        })
    })
}

fn serve<A: Application>(application: A, config: &Config) -> Result<Status, Trouble> {
    let mut server = Server::open(application, &config.options)?;
    let Err(stop) = server.run() else { return Ok(Status::Done) };
    tracing::error!("stopped: {stop}");
    Err(Trouble { status: Status::from(&stop), sentence: stop.to_string() })
}

#[cfg(test)]
mod tests {
    use chronon::{
        storage::{
            Layout,
            superblock::{self, ApplicationName, Identity},
        },
        types::{ClusterId, ReplicaId},
    };
    use chronon_production::DataFile;

    use super::*;

    const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 << 10, block_count: 8, block_size: 32 << 10 };

    #[test]
    fn a_file_that_is_not_read_is_of_no_application() {
        let path = std::env::temp_dir().join(format!("chronon-of-file-{}", std::process::id()));
        let refused = |says: &str| {
            let trouble = of_file(&path).unwrap_err();
            assert!(trouble.sentence.contains(says), "{}", trouble.sentence);
        };
        refused("does not exist");
        let application = ApplicationName::new("bank").unwrap();
        let identity = Identity { cluster: ClusterId(7), replica: ReplicaId(0), replica_count: 1, application };
        DataFile::create(&path, LAYOUT.size(), &superblock::format(identity, 1, LAYOUT, 16)).unwrap();
        assert_eq!(of_file(&path), Ok(Demo::Bank));
        let held = DataFile::open(&path).unwrap();
        refused("in use by process");
        drop(held);
        std::fs::write(&path, [0; 4096]).unwrap();
        refused("no two copies of the superblock agree");
        std::fs::remove_file(path).unwrap();
    }
}
