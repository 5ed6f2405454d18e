//! `proxy`, key by key.
