//! `proxies`, key by key.
