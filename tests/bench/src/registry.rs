//! What clients do with a registry, request by request.

use anyhow::Result;

use crate::content::{ACCEPT, Blob, Image, MANIFEST_TYPE};
use crate::http::{Answer, Body, Connection, Target};

/// One client of a registry, on one connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
}

impl Client {
    pub(crate) fn new(target: &Target) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(target)?,
        })
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        self.connection.call(method, path, ACCEPT, body)
    }

    pub(crate) fn has(&mut self, path: &str) -> Result<bool> {
        Ok(self.call("HEAD", path, b"")?.status == 200)
    }

    /// POST, one PATCH with all bytes, PUT: as docker does.
    pub(crate) fn push_large(&mut self, name: &str, blob: &mut Blob, digest: &str) -> Result<()> {
        let session = self.open(name)?;
        let headers = format!(
            "Content-Type: application/octet-stream\r\nContent-Length: {}\r\n",
            blob.size
        );
        let request = self.connection.request("PATCH", &session, &headers);
        self.connection.send(&[&request])?;
        blob.write(|piece| self.connection.send(&[piece]))?;
        let session = self.connection.answer(Body::Kept)?.expect(202)?.path()?;
        self.call("PUT", &closing(&session, digest), b"")?
            .expect(201)?;
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<String> {
        self.call("POST", &format!("/v2/{name}/blobs/uploads/"), b"")?
            .expect(202)?
            .path()
    }

    /// As docker pushes an image: it asks for each blob first.
    pub(crate) fn push_image(&mut self, name: &str, tag: &str, image: &Image) -> Result<()> {
        for (digest, bytes) in &image.blobs {
            self.call("HEAD", &format!("/v2/{name}/blobs/{digest}"), b"")?
                .expect(404)?;
            let session = self.open(name)?;
            let headers = "Content-Type: application/octet-stream\r\n";
            let patched = self.connection.call("PATCH", &session, headers, bytes)?;
            let session = patched.expect(202)?.path()?;
            self.call("PUT", &closing(&session, digest), b"")?
                .expect(201)?;
            self.call("HEAD", &format!("/v2/{name}/blobs/{digest}"), b"")?
                .expect(200)?;
        }
        self.put_manifest(name, tag, &image.manifest)
    }

    /// With as few requests as there can be of a session: POST, and PUT with all bytes.
    pub(crate) fn push_image_whole(&mut self, name: &str, tag: &str, image: &Image) -> Result<()> {
        for (digest, bytes) in &image.blobs {
            self.push_blob(name, digest, bytes)?;
        }
        self.put_manifest(name, tag, &image.manifest)
    }

    pub(crate) fn push_blob(&mut self, name: &str, digest: &str, bytes: &[u8]) -> Result<()> {
        let session = self.open(name)?;
        let headers = "Content-Type: application/octet-stream\r\n";
        let put = self
            .connection
            .call("PUT", &closing(&session, digest), headers, bytes)?;
        put.expect(201)?;
        Ok(())
    }

    pub(crate) fn mount(&mut self, name: &str, digest: &str, from: &str) -> Result<()> {
        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from={from}");
        self.call("POST", &path, b"")?.expect(201)?;
        Ok(())
    }

    pub(crate) fn put_manifest(
        &mut self,
        name: &str,
        reference: &str,
        manifest: &[u8],
    ) -> Result<()> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let headers = format!("Content-Type: {MANIFEST_TYPE}\r\n");
        self.connection
            .call("PUT", &path, &headers, manifest)?
            .expect(201)?;
        Ok(())
    }
}

fn closing(session: &str, digest: &str) -> String {
    let separator = if session.contains('?') { '&' } else { '?' };
    format!("{session}{separator}digest={digest}")
}
