//! The forms in which earlier versions stored the machine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Machine;
use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::renounced::Renounced;
use crate::session::{Session, SessionId};
use crate::time::Timestamp;

/// As version 1 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV1 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
}

impl From<MachineV1> for Machine {
    fn from(v1: MachineV1) -> Self {
        let MachineV1 {
            now,
            sessions,
            forget,
            secret,
        } = v1;
        Self {
            now,
            sessions,
            forget,
            secret,
            ..Self::default()
        }
    }
}

/// As version 2 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV2 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
    cluster: Cluster,
    renounced: Renounced,
}

impl From<MachineV2> for Machine {
    fn from(v2: MachineV2) -> Self {
        let MachineV2 {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
        } = v2;
        Self {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            ..Self::default()
        }
    }
}

/// As version 3 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV3 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
    cluster: Cluster,
    renounced: Renounced,
    collection: Collection,
}

impl From<MachineV3> for Machine {
    fn from(v3: MachineV3) -> Self {
        let MachineV3 {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            collection,
        } = v3;
        Self {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            collection,
            ..Self::default()
        }
    }
}

/// As version 4 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV4 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
    cluster: Cluster,
    renounced: Renounced,
    collection: Collection,
    certificates: Certificates,
}

impl From<MachineV4> for Machine {
    fn from(v4: MachineV4) -> Self {
        let MachineV4 {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            collection,
            certificates,
        } = v4;
        Self {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            collection,
            certificates,
            ..Self::default()
        }
    }
}
