//! A single replica that serves: a process of the program.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use chronon_production::{
    client::{KvClient, Options},
    status::{self, State, Status},
};

use crate::{
    addresses::own_addresses,
    support::{PATIENCE, format, spawn},
};

/// A single replica with a key-value store. Killed when it goes.
pub(crate) struct Replica {
    child: Child,
    address: SocketAddr,
}

impl Replica {
    /// Its data file is made, and its log goes there.
    pub(crate) fn start(file: &Path, log: impl Into<Stdio>) -> Self {
        assert_eq!(format(file, &["--replicas", "1", "--application", "kv"]).status, 0);
        Self::serve(file, &[], log)
    }

    /// From a data file that there is, with these flags.
    pub(crate) fn serve(file: &Path, flags: &[&str], log: impl Into<Stdio>) -> Self {
        let address = own_addresses(1)[0];
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronon"));
        command.args(["start", "--addresses", &address.to_string(), "--data"]).arg(file).args(flags);
        let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log));
        Self { child, address }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn until_it_serves(&mut self) {
        self.until("it serves", |status| status.state == State::Primary);
    }

    /// Asks again until what it says is as it should be. It must run as long.
    pub(crate) fn until(&mut self, what: &str, reached: impl Fn(&Status) -> bool) {
        let began = Instant::now();
        loop {
            let said = status::ask(self.address, PATIENCE);
            if said.as_ref().is_ok_and(&reached) {
                return;
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "{what}: it runs: {said:?}");
            assert!(began.elapsed() < PATIENCE, "{what}: {said:?}");
        }
    }

    pub(crate) fn must_serve(&mut self) {
        let client = KvClient::connect(&[self.address], Options::default()).unwrap();
        client.put(b"key", b"value").unwrap();
        assert_eq!(client.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(self.child.try_wait().unwrap(), None, "it runs");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
