//! `notifications`, key by key.
