//! `access`, key by key.
