//! Models of the cluster's protocols, explored state by state with the machine that runs in production.

pub mod collection;
