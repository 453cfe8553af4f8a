//! Each effect a line, once, whoever appended it and whenever that ended.

use chronon::{
    effect::{Channel, Errand, Fence},
    frame::Frame,
    types::{ClusterId, Epoch, Op, View},
};

use super::*;

const DONE: EffectResult = EffectResult::Done { response: Vec::new() };

/// A file that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chronon-file-sink-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn sink(&self) -> FileSink {
        FileSink::new(&self.0)
    }

    /// The ids' ops, by line; of a question as a negative number.
    fn ops(&self) -> Vec<i64> {
        let text = std::fs::read(&self.0).unwrap();
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| said(line).expect("a whole line of ours"));
        lines.map(|(_, id, _, done)| if done { id.op.0 as i64 } else { -(id.op.0 as i64) }).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn order_in(channel: u32, op: u64, view: u64, payload: &[u8]) -> EffectOrder {
    EffectOrder {
        id: EffectId { cluster: ClusterId(7), op: Op(op), position: 1, index: 0 },
        token: FencingToken { fence: Fence { epoch: Epoch(1), view: View(view) }, attempt: Op(op) },
        errand: Errand::Run,
        destination: Destination::Emit(Channel(channel)),
        payload: Frame::new(payload.to_vec()),
        timeout_ns: u64::MAX,
    }
}

fn order(op: u64, view: u64) -> EffectOrder {
    order_in(3, op, view, b"a\nletter")
}

#[test]
fn an_effect_is_a_line_once_by_whoever_it_is_appended_and_in_whatever_order_they_come_again() {
    let file = Scratch::new("once");
    let (first, second) = (file.sink(), file.sink());
    assert_eq!(first.run(&order(5, 1)), DONE);
    assert_eq!(second.run(&order(5, 2)), DONE, "another process");
    assert_eq!(second.run(&order(8, 2)), DONE);
    assert_eq!(first.run(&order(8, 3)), DONE);
    assert_eq!(first.run(&order(5, 3)), DONE, "an older one, which an operator ran again");
    assert_eq!(first.run(&order(6, 3)), DONE, "an older one that is new");
    assert_eq!(file.sink().run(&order(6, 4)), DONE, "another life");
    assert_eq!(file.ops(), [5, 8, 6]);
    let line = std::fs::read_to_string(&file.0).unwrap().lines().next().unwrap().to_owned();
    let id = "0000000000000007-0000000000000005-00000001-00000000";
    let token = "00000001-0000000000000001-0000000000000005";
    assert_eq!(line, format!(r#"{{"id":"{id}","token":"{token}","channel":3,"payload":"a\nletter"}}"#));
}

#[test]
fn what_is_older_than_what_its_channel_holds_is_refused_and_other_channels_are_not_concerned() {
    let file = Scratch::new("fence");
    assert_eq!(file.sink().run(&order(5, 4)), DONE);
    assert_eq!(file.sink().run(&order(9, 3)), EffectResult::Failed { code: code::FENCED });
    assert_eq!(file.sink().run(&order(5, 3)), DONE, "what was done was done");
    assert_eq!(file.sink().run(&order_in(4, 9, 3, b"\xff")), DONE);
    assert_eq!(file.ops(), [5, 9]);
    assert!(std::fs::read_to_string(&file.0).unwrap().contains(r#""channel":4,"payload_hex":"ff""#));
}

#[test]
fn another_cluster_s_tokens_and_ids_say_nothing_of_this_one_s() {
    let file = Scratch::new("clusters");
    let of = |cluster: u64, order: EffectOrder| EffectOrder {
        id: EffectId { cluster: ClusterId(cluster), ..order.id },
        ..order
    };
    assert_eq!(file.sink().run(&of(9, order(50, 40))), DONE);
    // A new cluster begins with its first view and its first op, and its id may be the smaller one.
    assert_eq!(file.sink().run(&of(8, order(5, 1))), DONE);
    assert_eq!(file.sink().run(&of(10, order(5, 1))), DONE);
    assert_eq!(file.sink().run(&of(8, order(5, 1))), DONE, "it is there");
    assert_eq!(file.sink().run(&of(9, order(51, 39))), EffectResult::Failed { code: code::FENCED }, "the old one's");
    assert_eq!(file.ops(), [50, 5, 5]);
}

#[test]
fn who_asks_is_told_and_no_older_attempt_comes_after_a_no() {
    let file = Scratch::new("ask");
    assert_eq!(file.sink().ask(&order(5, 4)), EffectResult::NotDone);
    assert_eq!(file.sink().run(&order(5, 3)), EffectResult::Failed { code: code::FENCED }, "by another process, too");
    assert_eq!(file.sink().run(&order(5, 5)), DONE);
    assert_eq!(file.sink().ask(&order(5, 6)), DONE);
    assert_eq!(file.ops(), [-5, 5]);
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_is_torn_and_a_whole_one_counts() {
    let file = Scratch::new("torn");
    file.sink().run(&order(5, 1));
    let one = std::fs::read(&file.0).unwrap();
    file.sink().run(&order(6, 1));
    let both = std::fs::read(&file.0).unwrap();
    for length in one.len()..=both.len() {
        std::fs::write(&file.0, &both[..length]).unwrap();
        let sink = file.sink();
        assert_eq!(sink.run(&order(6, 2)), DONE, "{length}");
        assert_eq!(sink.run(&order(7, 2)), DONE, "{length}");
        assert_eq!(file.ops(), [5, 6, 7], "{length}");
    }
}

#[test]
fn lines_of_others_stay_and_a_file_that_somebody_cut_is_an_error_once() {
    let file = Scratch::new("others");
    std::fs::write(&file.0, "# letters of the branch\n{\"id\":\"x\"}\n").unwrap();
    let sink = file.sink();
    assert_eq!((sink.run(&order(5, 1)), sink.run(&order(5, 1))), (DONE, DONE));
    assert_eq!(std::fs::read_to_string(&file.0).unwrap().lines().count(), 3);
    std::fs::write(&file.0, "").unwrap();
    assert!(matches!(sink.run(&order(6, 1)), EffectResult::Failed { .. }));
    assert_eq!(sink.run(&order(6, 1)), DONE, "it begins anew");
    assert_eq!(file.ops(), [6]);
}

#[test]
fn a_file_that_cannot_be_made_is_told_before_it_is_needed_and_fetches_are_not_for_files() {
    let sink = FileSink::new("/nowhere/at/all");
    let error = sink.prepare().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("/nowhere/at/all: "), "{error}");
    assert!(matches!(sink.run(&order(5, 1)), EffectResult::Failed { .. }));
    let fetch = EffectOrder { destination: Destination::Fetch, ..order(5, 1) };
    assert_eq!(sink.run(&fetch), EffectResult::Refused { code: code::BAD_ADDRESS });
}
