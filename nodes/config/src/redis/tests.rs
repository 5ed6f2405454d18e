//! `redis`, key by key.
