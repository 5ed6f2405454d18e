//! `s3`, key by key.
