//! `tls`, key by key.
