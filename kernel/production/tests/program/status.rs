//! What a replica says of itself to an operator.

use std::{fs::File, io::Write, net::TcpStream};

use chronon_production::{
    client::{KvClient, Options},
    status,
};

use crate::{
    replica::Replica,
    support::{Folder, PATIENCE},
};

/// Those who never said who they are, and those who have gone, are not among them.
#[test]
fn the_connections_that_a_replica_says_it_has_are_those_that_it_has() {
    let folder = Folder::new("connections");
    let log = File::create(folder.path().join("log")).unwrap();
    let mut replica = Replica::start(&folder.file(), log);
    replica.until_it_serves();
    let address = replica.address();
    let ended = status::ask(address, PATIENCE).unwrap().network.ended;
    for _ in 0..3 {
        TcpStream::connect(address).unwrap().write_all(&[b'x'; 100]).unwrap();
    }
    replica.until("it sees the strangers go", |status| status.network.ended >= ended + 3);
    let clients = [(); 2].map(|()| {
        let client = KvClient::connect(&[address], Options::default()).unwrap();
        client.put(b"key", b"value").unwrap();
        client
    });
    // Beside them the one who asks; whoever asked before may not have gone yet.
    replica.until("two clients and an operator", |status| status.network.connections == 3);
    drop(clients);
    replica.until("the operator alone", |status| status.network.connections == 1);
}
