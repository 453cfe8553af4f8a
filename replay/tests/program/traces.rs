//! Traces: kept, verified, compared; and told from what is none, or not all of one, or another build's.

use chronon_sim::trace::{Entry, Record, Trace, TraceHeader};

use crate::support::Place;

/// The bytes under another header.
fn under(bytes: &[u8], change: impl FnOnce(&mut TraceHeader)) -> Vec<u8> {
    let trace = Trace::parse(bytes).expect("a trace");
    let mut header = trace.header().clone();
    change(&mut header);
    header.over(trace.record_bytes())
}

fn is_send(entry: &Entry<'_>) -> bool {
    matches!(entry.record, Record::Send { .. })
}

#[test]
fn a_trace_is_the_same_again_in_another_process() {
    let place = Place::new("verify");
    let told = place.replay(&["seed", "3", "--trace", "a.trace"]).ends_with(0);
    place.replay(&["seed", "3", "--trace", "b.trace"]).ends_with(0);
    assert_eq!(place.read("a.trace"), place.read("b.trace"));
    let ran = place.replay(&["seed", "a.trace"]).ends_with(2);
    assert!(ran.err.contains("a.trace is a trace; run it again with `verify a.trace`, or name a seed"), "{}", ran.err);
    let ran = place.replay(&["verify", "a.trace"]).ends_with(0);
    assert_eq!(ran.digest(), told.digest());
    let ran = place.replay(&["diff", "a.trace", "b.trace"]).ends_with(0);
    assert!(ran.out.starts_with("the traces hold the same "), "{}", ran.out);
}

#[test]
fn a_difference_is_located_to_its_first_event() {
    let place = Place::new("difference");
    for seed in ["3", "4"] {
        let name = format!("{seed}.trace");
        place.example("own_protocol", &["seed", seed, "--trace", &name]).ends_with(0);
    }
    let ran = place.replay(&["diff", "3.trace", "4.trace"]).ends_with(1);
    for part in
        ["different runs: seed 3 and 4", "the last that they share:", "  left:  ", "  right: ", "the traces agree for "]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    // What seed 4 did, passed off as seed 3's: the same build does not do it again.
    let third = place.read("3.trace");
    let header = Trace::parse(&third).expect("a trace").header().clone();
    place.write("forged.trace", under(&place.read("4.trace"), |forged| *forged = header));
    let ran = place.example("own_protocol", &["verify", "forged.trace"]).ends_with(1);
    assert!(ran.out.starts_with("NONDETERMINISM: seed 3 is not the same again"), "{}", ran.out);
    assert!(
        ran.out.contains("  left:  ") && ran.out.contains("left is forged.trace, right is this run"),
        "{}",
        ran.out
    );
}

#[test]
fn a_trace_of_another_build_is_called_that() {
    let place = Place::new("other_build");
    place.example("own_protocol", &["seed", "3", "--trace", "3.trace"]).ends_with(0);
    place.example("own_protocol", &["seed", "4", "--trace", "4.trace"]).ends_with(0);
    let third = place.read("3.trace");
    place.write("same.trace", under(&third, |header| header.code_version = "0123456789abcdef".into()));
    let ran = place.example("own_protocol", &["verify", "same.trace"]).ends_with(0);
    assert!(ran.out.contains("(another build wrote it)"), "{}", ran.out);
    let mut header = Trace::parse(&third).expect("a trace").header().clone();
    header.code_version = "0123456789abcdef".into();
    place.write("other.trace", under(&place.read("4.trace"), |other| *other = header));
    let ran = place.example("own_protocol", &["verify", "other.trace"]).ends_with(2);
    assert!(ran.err.contains("was written by another build (sources 0123456789abcdef; this one is "), "{}", ran.err);
    assert!(ran.err.contains("verify it with that build, or write it anew"), "{}", ran.err);
    assert!(!ran.out.contains("NONDETERMINISM"), "{}", ran.out);
}

#[test]
fn what_is_no_whole_trace_is_refused_with_its_mend() {
    let place = Place::new("broken_traces");
    place.example("own_protocol", &["seed", "3", "--trace", "whole.trace"]).ends_with(0);
    let whole = place.read("whole.trace");
    let header_length = whole.len() - Trace::parse(&whole).expect("a trace").record_bytes().len();
    place.write("text.trace", "not a trace at all");
    place.write("empty.trace", "");
    place.write("header.trace", &whole[..20]);
    place.write("half.trace", &whole[..whole.len() / 2]);
    place.write("last.trace", &whole[..whole.len() - 1]);
    place.write("records.trace", &whole[..header_length]);
    let mut damaged = whole.clone();
    damaged[header_length] = 0xff;
    place.write("damaged.trace", damaged);
    // One bit of the checksum of some body: every record still decodes, and says something else.
    let mut flipped = whole.clone();
    let send = Trace::parse(&whole).expect("a trace").records().map(|entry| entry.expect("a record")).find(is_send);
    let send = send.expect("something is sent");
    flipped[header_length + (send.offset + send.length) as usize - 1] ^= 1;
    place.write("flipped.trace", flipped);
    place.write("stranger.trace", under(&whole, |header| header.scenario = "elsewhere".into()));
    for (name, status, mend) in [
        ("text.trace", 2, "this is not a trace; write one with"),
        ("empty.trace", 2, "this is not a trace; write one with"),
        ("header.trace", 3, "before its end; write it anew from its seed"),
        ("half.trace", 3, "before its end; write it anew from its seed"),
        ("last.trace", 3, "before its end; write it anew from its seed"),
        ("records.trace", 3, "before its end; write it anew from its seed"),
        ("damaged.trace", 3, "is damaged at byte"),
        ("flipped.trace", 3, ": they are not what was written; write it anew from its seed"),
        ("stranger.trace", 2, "there is no scenario `elsewhere`"),
    ] {
        let ran = place.example("own_protocol", &["verify", name]).ends_with(status);
        assert!(ran.err.contains(mend), "{name}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{name}: {}", ran.err);
        assert!(!ran.out.contains("NONDETERMINISM"), "{name}: {}", ran.out);
        if name != "stranger.trace" {
            place.example("own_protocol", &["diff", "whole.trace", name]).ends_with(status);
        }
    }
}
