//! The end-to-end cases: a registry as a process, real clients, the reference beside it.

mod clients;
mod reference;
mod rooms;
