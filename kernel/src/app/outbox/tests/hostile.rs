//! Bytes that no outbox gave: an error, or an outbox that goes on without a panic.

use std::{vec, vec::Vec};

use super::*;
use crate::app::record;

/// One of each stage, and one behind each first.
fn varied() -> Outbox {
    let mut log = Log::claimed();
    let never = Policy::EMIT.with_unknown(OnUnknown::NeverTwice);
    let policies = [Policy::EMIT, never, Policy::EMIT.with_unknown(OnUnknown::AskFirst), Policy::EMIT, never];
    for (channel, policy) in policies.into_iter().enumerate() {
        for behind in 0..2 {
            let op = 10 + 2 * channel as u64 + behind;
            log.emit(op, Destination::Emit(Channel(channel as u32)), policy);
        }
    }
    log.emit(30, Destination::Fetch, Policy::FETCH);
    log.emit(31, Destination::Log(Severity::Info), Policy::LOG);
    for op in [12, 14, 18] {
        log.outbox.start(id(op), token(1, op), Op(32)).unwrap();
    }
    log.outcome(33, id(14), token(1, 14), EffectResult::Unknown { code: 4 }).unwrap();
    log.outcome(33, id(16), token(1, 16), EffectResult::Refused { code: 4 }).unwrap();
    log.outcome(33, id(18), token(1, 18), EffectResult::Unknown { code: 4 }).unwrap();
    log.outcome(33, id(30), token(1, 30), EffectResult::Failed { code: 4 }).unwrap();
    log.outbox
}

pub(super) fn encoded(outbox: &Outbox) -> Vec<u8> {
    let mut bytes = Vec::new();
    outbox.encode(&mut bytes);
    bytes
}

#[test]
fn what_is_written_is_as_it_was_in_however_many_slices() {
    let mut log = Log::claimed();
    for op in 110..170 {
        log.emit(op, Destination::Emit(Channel(op as u32 % 3)), Policy::EMIT);
    }
    let (before, image) = (log.outbox.digest(), log.outbox.image());
    log.outcome(250, id(110), token(1, 110), EffectResult::Refused { code: 4 }).unwrap();
    log.emit(251, Destination::Fetch, Policy::FETCH);
    let mut slices = 0;
    let records = record::written(|writer| {
        slices += 1;
        image.snapshot(writer);
    });
    assert_eq!((records.len(), slices > 1), (61, true), "{slices}");
    assert_eq!(Outbox::decode(&records.concat()).map(|outbox| outbox.digest()), Ok(before));
    assert_ne!(log.outbox.digest(), before);
}

/// Whatever may follow in a log, once.
fn go_on(mut outbox: Outbox) {
    let ids: Vec<EffectId> = outbox.iter().map(|(id, _)| id).collect();
    let tokens: Vec<_> = outbox.tasks().map(|task| (task.id, task.token)).collect();
    let _ = outbox.claim(Fence { epoch: Epoch(u32::MAX), view: View(u64::MAX) }, Op(1000));
    outbox.advance(Op(1001), Timestamp(u64::MAX / 2), u32::MAX, &mut Vec::new());
    for (id, token) in tokens {
        let _ = outbox.start(id, token, Op(1002));
        let _ = outbox.outcome(id, token, EffectResult::Unknown { code: 0 }, Op(1003), Timestamp(0));
    }
    for id in ids {
        let _ = outbox.redrive(id, Op(1004), Timestamp(u64::MAX));
        let _ = outbox.discard(id, Op(1005));
    }
    assert_eq!(outbox.digest(), outbox.digest());
}

#[test]
fn whichever_bit_is_flipped_it_is_an_error_or_an_outbox_that_encodes_to_the_same_bytes_and_goes_on() {
    let bytes = encoded(&varied());
    let mut restored = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(outbox) = Outbox::decode(&flipped) else { continue };
        assert_eq!(encoded(&outbox), flipped, "bit {bit}");
        go_on(outbox);
        restored += 1;
    }
    assert!(restored > 1000, "{restored}");
}

#[test]
fn every_truncation_and_every_byte_too_many_is_an_error() {
    let mut bytes = encoded(&varied());
    for length in 0..bytes.len() {
        assert!(Outbox::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    bytes.push(0);
    assert!(matches!(Outbox::decode(&bytes), Err(CodecError::Trailing)));
}

type Changeable = Vec<(EffectId, Standing)>;
type Change = fn(&mut Changeable);

/// The bytes of an outbox whose entries are changed.
fn changed(change: impl Fn(&mut Changeable)) -> Vec<u8> {
    let outbox = varied();
    let mut entries: Vec<_> = outbox.iter().map(|(id, entry)| (id, entry.standing)).collect();
    let count = entries.len();
    change(&mut entries);
    assert_eq!(entries.len(), count);
    let mut bytes = encoded(&outbox);
    let head = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize + 8;
    bytes.truncate(head);
    for entry in entries {
        record::put(&mut bytes, &entry, &[0]);
    }
    bytes
}

fn of(entries: &mut [(EffectId, Standing)], op: u64) -> &mut Standing {
    &mut entries.iter_mut().find(|(id, _)| id.op == Op(op)).expect("an entry of that op").1
}

fn swap_places(entries: &mut [(EffectId, Standing)], first: u64, second: u64) {
    let place = of(entries, first).place;
    let other = core::mem::replace(&mut of(entries, second).place, place);
    of(entries, first).place = other;
}

#[test]
fn an_outbox_that_no_log_brings_about_is_refused() {
    assert!(Outbox::decode(&changed(|_| {})).is_ok());
    let changes: [(&str, Change); 19] = [
        ("ids that do not rise", |entries| entries.swap(0, 1)),
        ("an id twice", |entries| entries[1].0 = entries[0].0),
        ("two at one place", |entries| entries[1].1.place = entries[0].1.place),
        ("a dead letter at the place of another", |entries| of(entries, 16).place = of(entries, 17).place),
        ("a place that was not given yet", |entries| entries[0].1.place = 99),
        ("started behind another", |entries| {
            swap_places(entries, 12, 13);
        }),
        ("delayed behind another", |entries| {
            swap_places(entries, 14, 15);
        }),
        ("started without a start", |entries| of(entries, 12).started = None),
        ("started for another attempt", |entries| of(entries, 12).attempt = Op(77)),
        ("started under a claim to come", |entries| {
            of(entries, 14).started = Some(token(2, 14));
        }),
        ("a question about an effect that is run again", |entries| entries[0].1.asks = true),
        ("a start of an effect that needs none", |entries| entries[0].1.started = Some(token(1, 10))),
        ("started though it needs no start", |entries| {
            let standing = of(entries, 10);
            (standing.stage, standing.started) = (Stage::Started, Some(token(1, standing.attempt.0)));
        }),
        ("a question about nothing that was started", |entries| of(entries, 14).started = None),
        ("a start that is in doubt and not asked about", |entries| of(entries, 14).asks = false),
        ("a start in doubt that has certainly done nothing", |entries| of(entries, 18).may_have_run = false),
        ("parked without a start", |entries| of(entries, 18).started = None),
        ("dead though it should have failed", |entries| {
            let standing = of(entries, 16);
            standing.policy = standing.policy.with_exhausted(OnExhausted::Fail);
        }),
        ("tried too often", |entries| entries[0].1.attempts = Policy::EMIT.attempts_max()),
    ];
    for (what, change) in changes {
        assert!(matches!(Outbox::decode(&changed(change)), Err(CodecError::Malformed)), "{what}");
    }
}

#[test]
fn more_than_there_is_room_for_is_refused() {
    let mut small = Outbox::new(Limits { entries_max: 1, ..LIMITS });
    small.insert(id(1), MAIL, Policy::EMIT, Frame::new(vec![1]), Timestamp(0));
    let mut bytes = encoded(&small);
    assert!(Outbox::decode(&bytes).is_ok());
    bytes[4] = 0;
    assert!(matches!(Outbox::decode(&bytes), Err(CodecError::Malformed)));
}
