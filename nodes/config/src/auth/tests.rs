//! `auth`, key by key.
