//! The world outside a world: what the effects of its processes are done by.
//!
//! Orders leave a node as frames do: they may be lost, come late, and come twice; what they came to may be lost too. A service has no
//! clock, no disk and no address of its own: it is one value that says of each order when it arrives and what it comes to.
//! Deliberately absent: what a service is; that is for whoever simulates one.

use std::any::Any;

use chronon::{
    effect::{EffectOrder, EffectResult},
    types::NodeId,
};

/// What the effects of a world's processes are done by. Draws its own randomness, from streams of its own.
pub trait Service: CloneService + Send {
    /// A process gives an order. After how many nanoseconds it arrives, and each time that it does; nowhere if it is lost.
    fn order(&mut self, order: &EffectOrder) -> Vec<u64>;

    /// An order has arrived. What the process is told, and after how many nanoseconds; nothing if it never hears of it.
    fn arrive(&mut self, now_ns: u64, from: NodeId, order: &EffectOrder) -> Vec<(u64, EffectResult)>;
}

/// What a world needs of every service: to be copied and to be found again. Implemented for all that is `Clone`.
pub trait CloneService: Any {
    /// A copy, with all that it has done.
    fn clone_boxed(&self) -> Box<dyn Service>;
}

impl<S: Service + Clone + 'static> CloneService for S {
    fn clone_boxed(&self) -> Box<dyn Service> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Service> {
    fn clone(&self) -> Self {
        (**self).clone_boxed()
    }
}

impl dyn Service {
    /// The service as its own type, if it is an `S`.
    pub fn downcast_ref<S: Service + 'static>(&self) -> Option<&S> {
        (self as &dyn Any).downcast_ref()
    }

    /// The service as its own type, to be broken or mended, if it is an `S`.
    pub fn downcast_mut<S: Service + 'static>(&mut self) -> Option<&mut S> {
        (self as &mut dyn Any).downcast_mut()
    }
}
