//! What may be stored, hashed or sent as a structured body: values whose encoding is the same on every machine.
//!
//! Invariant: [`Stored`] holds for integers of one width, text, and what is built of these alone. `usize` and `isize` (a
//! width that belongs to the machine, and the form in which an address gets into a number), floats, characters, pointers,
//! and maps and sets (an order of their own) do not implement it, and hence nothing that has one as a field: `stored!`
//! names every field of a type, so that one that is added later is checked too.
//!
//! Lacks on purpose: an encoding. That is `codec`'s, which asks for this trait. No type implements it by hand elsewhere.

use alloc::{string::String, vec::Vec};

use crate::types::{
    Checksum, ClientId, ClusterId, CommitIndex, Epoch, Instant, NodeId, Op, ReplicaId, RequestNumber, Session,
    Timestamp, View,
};

/// A value whose encoding is the same on every machine.
///
/// ```
/// chronon::wire::codec::encode(&7_u64, &mut Vec::new());
/// ```
///
/// The same with a `usize` does not compile, although serde could encode it:
///
/// ```compile_fail
/// chronon::wire::codec::encode(&7_usize, &mut Vec::new());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not stored, hashed or sent: its encoding may differ between machines",
    note = "use u64 for usize, integers for floats, sorted vectors for maps; `stored!` admits a type of such fields"
)]
pub trait Stored {}

/// Admits a type as [`Stored`] if each of its fields is: `stored! { struct Name { field, field } }` or
/// `stored! { enum Name { Variant, Variant(value) } }` for one whose variants hold one value at most. Leaving a field or a
/// variant out does not compile.
macro_rules! stored {
    (struct $name:ident { $($field:tt),* $(,)? }) => {
        impl $crate::wire::stored::Stored for $name {}

        const _: fn(&$name) = |value| {
            fn check<T: $crate::wire::stored::Stored>(_: &T) {}
            let $name { $($field: _),* } = value;
            $(check(&value.$field);)*
        };
    };
    (enum $name:ident { $($variant:ident $(($value:ident))?),* $(,)? }) => {
        impl $crate::wire::stored::Stored for $name {}

        const _: fn(&$name) = |value| match value {
            $($name::$variant $(($value))? => {
                $(
                    fn check<T: $crate::wire::stored::Stored>(_: &T) {}
                    check($value);
                )?
            })*
        };
    };
}

pub(crate) use stored;

/// Admits types that are what they are.
macro_rules! primitive {
    ($($name:ty),*) => { $(impl Stored for $name {})* };
}

primitive!((), bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, str, String);

impl<T: Stored> Stored for [T] {}
impl<T: Stored, const LENGTH: usize> Stored for [T; LENGTH] {}
impl<T: Stored> Stored for Vec<T> {}
impl<T: Stored> Stored for Option<T> {}
impl<T: Stored + ?Sized> Stored for &T {}
impl<A: Stored, B: Stored> Stored for (A, B) {}

stored! { struct View { 0 } }
stored! { struct Op { 0 } }
stored! { struct CommitIndex { 0 } }
stored! { struct ReplicaId { 0 } }
stored! { struct NodeId { 0 } }
stored! { struct ClusterId { 0 } }
stored! { struct ClientId { 0 } }
stored! { struct Session { 0 } }
stored! { struct RequestNumber { 0 } }
stored! { struct Epoch { 0 } }
stored! { struct Instant { 0 } }
stored! { struct Timestamp { 0 } }
stored! { struct Checksum { 0 } }

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use core::marker::PhantomData;

    use super::*;
    use crate::wire::{Claim, Command, DoViewChange, Header, Headers};

    /// Whether a type is [`Stored`]: the constant of the type itself is there if it is, and hides the trait's.
    struct Is<T: ?Sized>(PhantomData<T>);

    trait Otherwise {
        const STORED: bool = false;
    }

    impl<T: ?Sized> Otherwise for Is<T> {}

    impl<T: Stored + ?Sized> Is<T> {
        const STORED: bool = true;
    }

    /// Fails to compile unless each type is, or is not, stored.
    macro_rules! expect {
        ($expected:literal: $($name:ty),* $(,)?) => { $(const { assert!(Is::<$name>::STORED == $expected) };)* };
    }

    #[test]
    fn what_differs_between_machines_is_not_stored() {
        expect!(false: usize, isize, char, fn(), &usize, Vec<usize>, Option<usize>, [usize; 4], (u8, usize));
        expect!(false: BTreeMap<u8, u8>, BTreeSet<u8>, core::time::Duration);
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "a type has to be named to say that it is not stored")]
    fn floats_are_not_stored() {
        expect!(false: f32, f64, Vec<f64>, Option<f32>, (f64, u8));
    }

    #[test]
    fn integers_text_and_what_the_wire_builds_of_them_are_stored() {
        expect!(true: bool, u8, u64, u128, i64, str, String, Vec<u64>, Option<Op>, [u8; 32], (Op, Vec<Checksum>));
        expect!(true: Command, Header, [Header], Claim, DoViewChange, Headers);
    }
}
