//! What a frame says, field by field, as it lies on the wire.
//!
//! An oracle looks at every frame that is sent, and mostly at one byte of it: so nothing is decoded that is not asked for,
//! and no checksum is verified. That is sound for frames that are being *sent*; whether they arrive whole is the network's.
//! The offsets are the ones that the wire's header documents, read here a second time and on their own.

use chronon::{
    types::{Checksum, ClientId, Op, RequestNumber, Session, Timestamp, View},
    wire::header::{Command, HEADER_SIZE},
};

/// A frame of the protocol.
#[derive(Clone, Copy)]
pub(super) struct Speech<'a>(&'a [u8]);

impl<'a> Speech<'a> {
    /// What `frame` says; none if it is too short to say anything.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        (frame.len() >= HEADER_SIZE).then_some(Self(frame))
    }

    pub(super) fn command(self) -> Option<Command> {
        Command::try_from(self.0[58]).ok()
    }

    pub(super) fn checksum(self) -> Checksum {
        Checksum(self.wide(0))
    }

    pub(super) fn request(self) -> RequestNumber {
        RequestNumber(self.number(40))
    }

    pub(super) fn view(self) -> View {
        View(self.number(64))
    }

    pub(super) fn op(self) -> Op {
        Op(self.number(72))
    }

    /// The op up to which everything is committed.
    pub(super) fn commit(self) -> Op {
        Op(self.number(80))
    }

    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp(self.number(88))
    }

    pub(super) fn context(self) -> u128 {
        self.wide(96)
    }

    pub(super) fn session(self) -> Session {
        Session(self.number(96))
    }

    pub(super) fn client(self) -> ClientId {
        ClientId(self.wide(112))
    }

    pub(super) fn body(self) -> &'a [u8] {
        &self.0[HEADER_SIZE..]
    }

    fn number(self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[offset..offset + 8]);
        u64::from_le_bytes(bytes)
    }

    fn wide(self, offset: usize) -> u128 {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[offset..offset + 16]);
        u128::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use chronon::{
        types::{ClusterId, CommitIndex, Epoch},
        wire::header::Header,
    };

    use super::*;

    #[test]
    fn every_field_is_read_where_the_wire_has_it() {
        for command in Command::ALL {
            let header = Header {
                request: RequestNumber(3),
                epoch: Epoch(4),
                op: Op(5),
                commit: CommitIndex(6),
                timestamp: Timestamp(7),
                context: 8 << 64 | 9,
                client: ClientId(10 << 64 | 11),
                ..Header::new(ClusterId(1), command, 2, View(12))
            };
            let sealed = header.sealed(b"body");
            let frame = [&sealed.encode()[..], b"body"].concat();
            let speech = Speech::of(&frame).unwrap();
            assert_eq!(speech.command(), Some(command));
            assert_eq!(
                (speech.checksum(), speech.request(), speech.view()),
                (sealed.checksum, header.request, View(12))
            );
            assert_eq!((speech.op(), speech.commit(), speech.timestamp()), (Op(5), Op(6), Timestamp(7)));
            assert_eq!((speech.context(), speech.session()), (header.context, Session(9)));
            assert_eq!((speech.client(), speech.body()), (header.client, &b"body"[..]));
        }
    }

    #[test]
    fn what_is_no_frame_says_nothing() {
        assert!(Speech::of(&[1; 127]).is_none());
        assert_eq!(Speech::of(&[0xff; 128]).unwrap().command(), None);
    }
}
