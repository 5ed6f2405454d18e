//! `health`, key by key.
