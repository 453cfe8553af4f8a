//! `start` with a log that nobody can write: it serves all the same.

use std::{
    fs::File,
    io::{Read, Write, pipe},
    net::{SocketAddr, TcpStream},
};

use crate::{replica::Replica, support::Folder};

/// Has the replica something to log: who is not spoken with, and why.
fn send_garbage(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[b'x'; 100]).unwrap();
    // It hangs up, by a reset if it did not read all.
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_replica_serves_though_its_log_has_no_room() {
    let folder = Folder::new("log-full");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut replica = Replica::start(&folder.file(), full);
    replica.until_it_serves();
    replica.must_serve();
    send_garbage(replica.address());
    replica.until("it refuses what is no hello", |status| status.network.refused > 0);
    replica.must_serve();
}

#[test]
fn a_replica_serves_though_whoever_read_its_log_has_gone() {
    let folder = Folder::new("log-unread");
    let (mut read, written) = pipe().unwrap();
    let mut replica = Replica::start(&folder.file(), written);
    replica.until_it_serves();
    assert!(read.read(&mut [0; 64]).unwrap() > 0, "it has a log");
    drop(read);
    send_garbage(replica.address());
    replica.until("it refuses what is no hello", |status| status.network.refused > 0);
    replica.must_serve();
}
