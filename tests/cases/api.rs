//! The HTTP API, read row by row from the OCI distribution specification: what a client may count on.
//!
//! Each case names the rows that it shows, as in `O17`:
//!
//! | row | what is promised | shown in |
//! |---|---|---|
//! | O1, O36 | the whole API is there, and `/v2/` says so | [`base`], [`methods`] |
//! | O2 | which names, tags and digests there are | [`nonsense`] |
//! | O3, O4, O5, O7 | manifests come back byte for byte | [`pull`] |
//! | O4, O6, O7 | blobs, whole and in parts | [`pull`], [`conditional`] |
//! | O8, O9, O22 to O24, O26, O42 | what is accepted as a manifest | [`manifests`], [`references`], [`shapes`] |
//! | O10, O12, O13 | blobs in one request or two | [`push`] |
//! | O11, O15 to O20 | blobs in chunks | [`chunks`], [`order`] |
//! | O14 | digests of both algorithms everywhere | [`digests`] |
//! | O21 | mounting | [`mount`] |
//! | O25, O27 to O29 | tags, and lists of them | [`tags`], [`catalog`] |
//! | O30 to O33 | referrers | [`referrers`], [`fallback`] |
//! | O34, O41 | deletion, visible at once | [`deletion`] |
//! | O37 | errors | [`errors`], [`nonsense`], [`strange`], [`json`], [`wire`], [`random`] |
//! | O35, O38, O39, O40 | what is *not* sent | [`base`] |
//!
//! Seen only as an absence: O15 (chunks have no minimum, so `OCI-Chunk-Min-Length` is not sent), O35 (the namespace of
//! `ns` is not used, so `OCI-Namespace` is not sent), O38 (clients are not limited, so nobody sees 429), O39 (nothing is
//! warned of) and O40 (images on a filesystem are served, not redirected to). Of O20 the time-out of unfinished uploads is
//! not shown here: the first purge comes at a random minute.

mod base;
mod catalog;
mod chunks;
mod conditional;
mod deletion;
mod digests;
mod errors;
mod fallback;
mod json;
mod location;
mod manifests;
mod methods;
mod mount;
mod nonsense;
mod order;
mod pull;
mod push;
mod random;
mod references;
mod referrers;
mod shapes;
mod steps;
mod strange;
mod tags;
mod wire;
