//! `roadstead cluster rotate-secret`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use roadstead_metadata::{ClusterCommand, ClusterOutcome, Command, Metadata as _, Outcome, Remote};

pub(super) async fn secret(remote: &Remote) -> Result<ExitCode> {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).context("no random numbers")?;
    // A proposal that is carried out late must not bring this secret back when it has been replaced itself.
    let since = remote.secrets().await?.since;
    let rotate = Command::Cluster(ClusterCommand::ReplaceSecret { since, secret });
    match remote.propose(rotate).await? {
        Outcome::Cluster(ClusterOutcome::Rotated) => {}
        Outcome::Cluster(ClusterOutcome::NoSecret) => bail!(
            "the cluster keeps no secret: either no node has joined yet, or http.secret is configured; \
             to change that one, stop all nodes"
        ),
        Outcome::Cluster(ClusterOutcome::Overtaken) => {
            bail!("somebody else replaced it at the same time: it is another one than before")
        }
        other => bail!("it answered {other:?}"),
    }
    let text = "the secret is replaced: all nodes hear of it within seconds, and accept what the one before signed for 24 hours";
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
