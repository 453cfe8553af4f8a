//! Who said what to whom: the frames that replicas sent, for scripts to look up.

use chronon::{
    types::{NodeId, Op, View},
    wire::{
        header::{Command, HEADER_SIZE, Header},
        message::{self, Claim, DoViewChange},
    },
};
use chronon_sim::oracle::{Interests, Oracle, StepView, Violation, WorldView};

/// A frame that was sent by a replica, or to one.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) at_ns: u64,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) header: Header,
    /// Of a `do_view_change`.
    pub(crate) log: Option<DoViewChange>,
}

/// Everything that was said, greetings apart.
#[derive(Clone)]
pub(crate) struct Minutes {
    replicas: u8,
    said: Vec<Said>,
}

impl Minutes {
    pub(crate) fn new(replicas: u8) -> Self {
        Self { replicas, said: Vec::new() }
    }

    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }

    /// What a replica said of this kind, since that time.
    pub(crate) fn of(&self, replica: u8, command: Command, since_ns: u64) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(move |said| {
            said.from == NodeId(u32::from(replica)) && said.header.command == command && said.at_ns >= since_ns
        })
    }

    /// The last thing that a replica claimed of an op on its way to a view.
    pub(crate) fn claim(&self, replica: u8, op: Op) -> Option<Claim> {
        let logs = self.of(replica, Command::DoViewChange, 0).filter_map(|said| said.log.as_ref());
        logs.filter_map(|log| log.headers.iter().zip(&log.claims).find(|(header, _)| header.op == op))
            .map(|(_, claim)| *claim)
            .last()
    }

    /// The views that began, in order.
    pub(crate) fn views_started(&self) -> Vec<View> {
        let started = self.said.iter().filter(|said| said.header.command == Command::StartView);
        let mut views: Vec<View> = started.map(|said| said.header.view).collect();
        views.dedup();
        views
    }
}

impl Oracle for Minutes {
    fn name(&self) -> &'static str {
        "minutes"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        for (to, frame) in step.sends() {
            let greeting = [Command::Ping as u8, Command::Pong as u8].contains(&frame[COMMAND]);
            let internal = [node, to].iter().all(|end| end.0 < u32::from(self.replicas));
            if greeting
                || !internal && frame[COMMAND] != Command::Reply as u8 && frame[COMMAND] != Command::Request as u8
            {
                continue;
            }
            let header = Header::decode(frame).expect("replicas and clients send sound frames");
            let log = (header.command == Command::DoViewChange)
                .then(|| message::decode_do_view_change(&frame[HEADER_SIZE..]).expect("replicas send sound frames"));
            self.said.push(Said { at_ns: world.now_ns(), from: node, to, header, log });
        }
        Ok(())
    }
}

/// Where a frame has its command.
const COMMAND: usize = 58;
