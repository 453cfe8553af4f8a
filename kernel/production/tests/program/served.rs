//! A data file with something in it: a single replica serves from it for a while, on the real disk, in this thread.

use std::{cell::RefCell, collections::VecDeque, path::Path, rc::Rc, time::Instant};

use chronon::{
    app::kv::{Kv, Request},
    client::{ClientConfig, ClientProcess, Driver, Next, Outcome},
    env::{DiskOperation, Network, NoSink, VirtualDisk},
    frame::Frame,
    node::{Node, Polled},
    process::{Completion, Now, Token},
    replica::Replica,
    storage::{Superblock, layout::SUPERBLOCK_COPY_SIZE},
    types::{ClientId, NodeId},
    vsr::Config,
};
use chronon_production::{DataFile, SyncDisk, SystemClock, runner};

use crate::support::{PATIENCE, close, read};

const CLIENT: NodeId = NodeId(1000);

/// Puts so many values, one after the other.
#[derive(Clone)]
struct Puts {
    left: u64,
    answered: u64,
    /// So large that a prepare takes more than a sector.
    value: Vec<u8>,
}

impl Driver for Puts {
    fn next(&mut self, _: Now, request: &mut Vec<u8>) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        self.left -= 1;
        let key = format!("key {}", self.left);
        Request::Put { key: key.as_bytes(), value: &self.value }.encode(request);
        Next::Request
    }

    fn done(&mut self, _: Now, outcome: Outcome<'_>) {
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        self.answered += 1;
    }
}

/// What two nodes have sent each other, by who is to get it.
type Post = Rc<RefCell<[VecDeque<(NodeId, Frame)>; 2]>>;

/// One end of it: `own` is the node's address, `inbox` where its frames come.
struct Wire {
    post: Post,
    own: NodeId,
    inbox: usize,
}

impl Network for Wire {
    fn send(&mut self, _: NodeId, frame: Frame) {
        self.post.borrow_mut()[1 - self.inbox].push_back((self.own, frame));
    }

    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        self.post.borrow_mut()[self.inbox].pop_front()
    }
}

/// A client has none.
struct NoDisk;

impl VirtualDisk for NoDisk {
    fn submit(&mut self, _: Token, _: DiskOperation) {
        panic!("a client writes nothing");
    }

    fn poll(&mut self) -> Option<Completion> {
        None
    }
}

/// Serves from a formatted file of a single replica until so many puts are answered.
pub(crate) fn serve(file: &Path, puts: u64) {
    let data = DataFile::open(file).unwrap();
    let superblock = Superblock::decode(&read(file, 0, SUPERBLOCK_COPY_SIZE as usize), 0).unwrap();
    let config = Config::of(&superblock);
    let mut disk = SyncDisk::new(data).unwrap();
    let mut replica = Node::new(Replica::new(config, Kv), runner::random().unwrap());
    let client = ClientConfig::new(superblock.cluster, ClientId(1), 1);
    let driver = Puts { left: puts, answered: 0, value: vec![7; 5000] };
    let mut client = Node::new(ClientProcess::new(client, driver), runner::random().unwrap());

    let post = Post::default();
    let mut wires = [(NodeId(0), 0), (CLIENT, 1)].map(|(own, inbox)| Wire { post: Rc::clone(&post), own, inbox });
    let [replicas, clients] = &mut wires;
    let started = Instant::now();
    while client.process().driver().answered < puts {
        assert!(started.elapsed() < PATIENCE, "{} are answered", client.process().driver().answered);
        let polled = replica.poll(&mut SystemClock, replicas, &mut disk, &mut NoSink::default());
        assert!(!matches!(polled, Polled::Halted(_)), "{:?}", replica.halted());
        client.poll(&mut SystemClock, clients, &mut NoDisk, &mut NoSink::default());
    }
    close(disk, file);
}
