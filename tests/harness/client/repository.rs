//! One repository: the steps of a push, of a pull and of a deletion, and what must come back byte for byte.

use roadstead_oci::Digest;
use serde_json::Value;

use crate::client::{Answer, Client, strings};
use crate::image::{Content, Document, MANIFEST_TYPES};

/// A repository of one registry. Each method is one request, but for those that say otherwise.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Client,
    name: String,
}

impl Repository {
    pub(super) fn new(client: Client, name: &str) -> Self {
        let name = name.to_owned();
        Self { client, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `/v2/<name>/<rest>`.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// Opens an upload session and returns where it goes on.
    #[track_caller]
    pub fn open_upload(&self) -> String {
        let opened = self.client.post(&self.path("blobs/uploads/"));
        opened.expect_status(202).location().to_owned()
    }

    /// Sends a chunk without `Content-Range`, as docker does.
    #[track_caller]
    pub fn patch(&self, session: &str, chunk: &[u8]) -> Answer {
        self.client
            .call("PATCH", session)
            .header("content-type", "application/octet-stream")
            .body(chunk)
            .send()
    }

    /// Closes a session with what is left of the blob.
    #[track_caller]
    pub fn close_upload(&self, session: &str, rest: &[u8], digest: &Digest) -> Answer {
        let joint = if session.contains('?') { '&' } else { '?' };
        self.client
            .call("PUT", &format!("{session}{joint}digest={digest}"))
            .header("content-type", "application/octet-stream")
            .body(rest)
            .send()
    }

    /// Opens a session and closes it with the whole blob: two requests.
    #[track_caller]
    pub fn push_blob(&self, bytes: &[u8], digest: &Digest) -> Answer {
        let session = self.open_upload();
        self.close_upload(&session, bytes, digest)
    }

    /// Puts a manifest under a tag or its digest.
    #[track_caller]
    pub fn push_manifest(&self, reference: &str, manifest: &Document) -> Answer {
        self.client
            .call("PUT", &self.path(&format!("manifests/{reference}")))
            .header("content-type", &manifest.media_type)
            .body(manifest.bytes.as_slice())
            .send()
    }

    /// Pushes everything, blobs first and the root under `reference` last, as every client does.
    #[track_caller]
    pub fn push(&self, reference: &str, content: &Content) {
        for blob in content.blobs() {
            self.push_blob(&blob.bytes, &blob.digest).expect_status(201);
        }
        let (root, children) = content.root_and_children();
        for child in children {
            self.push_manifest(&child.digest.to_string(), child)
                .expect_status(201);
        }
        let answer = self.push_manifest(reference, root).expect_status(201);
        assert_eq!(
            answer.header("docker-content-digest"),
            Some(root.digest.to_string().as_str())
        );
    }

    /// A manifest by tag or digest, with every type accepted.
    #[track_caller]
    pub fn manifest(&self, reference: &str) -> Answer {
        self.client
            .call("GET", &self.path(&format!("manifests/{reference}")))
            .header("accept", &MANIFEST_TYPES.join(", "))
            .send()
    }

    #[track_caller]
    pub fn blob(&self, digest: &Digest) -> Answer {
        self.client.get(&self.path(&format!("blobs/{digest}")))
    }

    /// The tags, all on one page.
    #[track_caller]
    pub fn tags(&self) -> Vec<String> {
        let answer = self.client.get(&self.path("tags/list")).expect_status(200);
        assert_eq!(answer.json()["name"], self.name.as_str());
        strings(&answer.json()["tags"])
    }

    /// Deletes a tag, or a manifest by its digest with all its tags.
    #[track_caller]
    pub fn delete_manifest(&self, reference: &str) -> Answer {
        self.client
            .delete(&self.path(&format!("manifests/{reference}")))
    }

    #[track_caller]
    pub fn delete_blob(&self, digest: &Digest) -> Answer {
        self.client.delete(&self.path(&format!("blobs/{digest}")))
    }

    /// The descriptors of the manifests whose subject is `digest`.
    #[track_caller]
    pub fn referrers(&self, digest: &Digest) -> Vec<Value> {
        let path = self.path(&format!("referrers/{digest}"));
        let answer = self.client.get(&path).expect_status(200);
        assert_eq!(
            answer.header("content-type"),
            Some("application/vnd.oci.image.index.v1+json")
        );
        let index = answer.json();
        index["manifests"].as_array().cloned().unwrap_or_default()
    }

    /// Pulls everything that `content` holds and compares it byte for byte: the root by `reference` and by its digest,
    /// each manifest with its type and digest, each blob. As many requests as there are documents, and one.
    #[track_caller]
    pub fn assert_serves(&self, reference: &str, content: &Content) {
        let (root, _) = content.root_and_children();
        same(&self.manifest(reference), root);
        for manifest in content.manifests() {
            let answer = self.manifest(&manifest.digest.to_string());
            same(&answer, manifest);
            assert_eq!(
                answer.header("content-type"),
                Some(manifest.media_type.as_str()),
                "{}",
                answer.request
            );
        }
        for blob in content.blobs() {
            same(&self.blob(&blob.digest), blob);
        }
    }
}

#[track_caller]
fn same(answer: &Answer, expected: &Document) {
    let answer = answer.clone().expect_status(200);
    assert!(
        answer.body == expected.bytes,
        "{}: {} bytes came, which are not the {} of {}",
        answer.request,
        answer.body.len(),
        expected.bytes.len(),
        expected.digest
    );
    assert_eq!(
        answer.header("docker-content-digest"),
        Some(expected.digest.to_string().as_str()),
        "{}",
        answer.request
    );
}
