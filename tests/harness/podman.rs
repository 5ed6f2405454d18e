//! A store of one's own for podman and buildah: images in a temporary directory, as plain directories.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::run::{Output, Run};
use crate::tools::POLICY;

/// Podman and buildah over one store, which no other one sees.
#[derive(Debug)]
pub struct Podman {
    home: TempDir,
}

impl Podman {
    pub fn new() -> Self {
        let home = crate::scratch();
        let write = |name: &str, text: &str| {
            std::fs::write(home.path().join(name), text).expect("a configuration file");
        };
        write("policy.json", POLICY);
        write("registries.conf", "");
        write(
            "containers.conf",
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\n",
        );
        write("auth.json", "{}");
        Self { home }
    }

    /// Runs `podman` with these arguments.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.podman(args).ok()
    }

    /// Runs it where it must fail.
    #[track_caller]
    pub fn fails(&self, args: &[&str]) -> Output {
        self.podman(args).fails()
    }

    /// Runs `buildah` with these arguments.
    #[track_caller]
    pub fn buildah(&self, args: &[&str]) -> Output {
        self.isolated("buildah").args(args).ok()
    }

    /// Pulls over plain HTTP.
    #[track_caller]
    pub fn pull(&self, image: &str) -> Output {
        self.plain("pull", &[image]).ok()
    }

    /// Pulls where that must fail.
    #[track_caller]
    pub fn pull_fails(&self, image: &str) -> Output {
        self.plain("pull", &[image]).fails()
    }

    /// Pushes over plain HTTP.
    #[track_caller]
    pub fn push(&self, image: &str, destination: &str) -> Output {
        self.plain("push", &[image, destination]).ok()
    }

    /// Pushes where that must fail.
    #[track_caller]
    pub fn push_fails(&self, image: &str, destination: &str) -> Output {
        self.plain("push", &[image, destination]).fails()
    }

    /// The digest of the configuration, without its algorithm, by which the store knows an image.
    #[track_caller]
    pub fn id(&self, image: &str) -> String {
        self.run(&["image", "inspect", "--format", "{{.Id}}", image])
            .text()
    }

    /// The signature policy, for `--signature-policy`.
    pub fn policy(&self) -> String {
        self.path("policy.json").display().to_string()
    }

    fn podman(&self, args: &[&str]) -> Run {
        let podman = self.isolated("podman").arg("--tmpdir");
        podman.arg(self.path("tmp")).args(args)
    }

    /// Over plain HTTP.
    fn plain(&self, verb: &str, images: &[&str]) -> Run {
        let podman = self.podman(&[verb, "--tls-verify=false", "--signature-policy"]);
        podman.arg(self.policy()).args(images)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// As root both keep hints on where layers were seen under `/var/lib/containers/cache`; nothing turns that off.
    fn isolated(&self, program: &str) -> Run {
        Run::new(program)
            .arg("--root")
            .arg(self.path("root"))
            .arg("--runroot")
            .arg(self.path("run"))
            .args(["--storage-driver", "vfs"])
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env("BUILDAH_ISOLATION", "chroot")
    }
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}
