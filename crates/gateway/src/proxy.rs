//! One request on its way: to the service that it is for, through an instance, and back.

pub(crate) mod body;
mod forward;
mod head;
mod progress;
mod record;
mod said;
mod tunnel;
pub(crate) mod upstream;

pub(crate) use body::Body;
pub(crate) use forward::{Asked, answer};
pub(crate) use tunnel::carry;
