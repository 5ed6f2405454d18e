//! What was seen of a cluster, for people and for programs.

use roadstead_metadata::{Certificate, Refused, StatusResponse};
use serde_json::{Value, json};

use super::seen::{Seen, Verdict, state};

/// Between two columns.
const GAP: &str = "  ";

pub(super) fn readable(seen: &Seen) -> String {
    let mut parts = vec![head(seen)];
    if !seen.members().is_empty() {
        parts.push(members(seen));
    }
    if seen.nodes().next().is_some() {
        parts.push(nodes(seen));
    }
    if !seen.certificates().is_empty() {
        parts.push(certificates(seen));
    }
    let remarks = remarks(seen);
    if !remarks.is_empty() {
        parts.push(remarks.join("\n"));
    }
    parts.join("\n\n")
}

/// Whether it works, in one line, and what that means.
fn head(seen: &Seen) -> String {
    let verdict = match seen.verdict() {
        Verdict::Leads(leader) => format!("member {leader} leads"),
        Verdict::NoQuorum(there, all) => format!(
            "NO QUORUM: {there} of {all} voting members answer, {} are needed.\n\
             Pulls go on; pushes are answered with 503 until they are back.",
            all / 2 + 1
        ),
        Verdict::NoLeader(there, all) => format!(
            "NO LEADER: {there} of {all} voting members answer, and none leads with the others behind it.\n\
             An election takes a second or two: ask again. If it stays so, they do not reach each other."
        ),
        Verdict::Blank => "NO GROUP YET: it begins when all of metadata.peers answer".to_owned(),
        Verdict::Silent => {
            return "NO MEMBER ANSWERS: are they running, is cluster.metadata right, and the secret?"
                .to_owned();
        }
    };
    let mut lines = vec![verdict];
    if let Some(best) = seen.best() {
        lines.push(format!(
            "cluster {}, term {}, log entry {}, open uploads: {}",
            seen.cluster().unwrap_or("(no node has joined yet)"),
            best.term,
            number(best.last_log),
            best.open_sessions
        ));
        if !seen.has_quorum && !best.blank {
            lines.push(format!(
                "As member {} knows it; it may be out of date.",
                best.id
            ));
        }
    }
    lines.join("\n")
}

fn members(seen: &Seen) -> String {
    let names = [
        "MEMBER", "ADDRESS", "ROLE", "BEHIND", "APPLIED", "UP", "VERSION",
    ];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(seen.members().iter().map(|member| {
        let own = seen.of(member.id);
        let of_own = |text: fn(&StatusResponse) -> String| own.map_or_else(dash, text);
        [
            member.id.to_string(),
            member.addr.clone(),
            seen.role(member).to_owned(),
            number(seen.behind(member)),
            of_own(|own| number(own.applied)),
            of_own(|own| period(own.up_seconds)),
            own.map_or_else(|| "no answer".to_owned(), |own| own.version.clone()),
        ]
    }));
    columns(&rows, [true, false, false, true, true, true, false])
}

fn nodes(seen: &Seen) -> String {
    let names = ["NODE", "STATE", "LEASE", "SINCE", "VERSION"];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(seen.nodes().map(|(_, node)| {
        [
            node.address.clone(),
            state(node).to_owned(),
            node.epoch.to_string(),
            period(seen.joined_for(node)),
            node.version.clone(),
        ]
    }));
    rows[1..].sort();
    columns(&rows, [false, false, true, true, false])
}

fn certificates(seen: &Seen) -> String {
    let names = ["CERTIFICATE", "GOOD FOR"];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(seen.certificates().iter().map(|certificate| {
        let good_for = match (certificate.not_after, seen.good_for(certificate)) {
            (None, _) => "not yet issued".to_owned(),
            (Some(_), None) => "EXPIRED".to_owned(),
            (Some(_), Some(seconds)) => period(seconds),
        };
        [certificate.names.clone(), good_for]
    }));
    rows[1..].sort();
    columns(&rows, [false, false])
}

/// What somebody should look at.
fn remarks(seen: &Seen) -> Vec<String> {
    let mut remarks = Vec::new();
    let versions = seen.versions();
    if versions.len() > 1 {
        remarks.push("versions differ:".to_owned());
        let each = versions.iter();
        remarks.extend(each.map(|(version, who)| format!("  {version}: {}", who.join(", "))));
    }
    for certificate in seen.certificates() {
        let Certificate { names, failure, .. } = certificate;
        if !failure.is_empty() {
            remarks.push(format!("no certificate was issued for {names}: {failure}"));
        }
    }
    for (addr, told) in seen.told() {
        match told {
            Err(error) => remarks.push(format!("{addr}: {error}")),
            Ok(status) if status.blank => {
                let id = status.id;
                remarks.push(format!("{addr}: member {id} is blank, of no group yet"));
            }
            Ok(status) if !status.failure.is_empty() => remarks.push(format!(
                "{addr}: member {} has failed: {}",
                status.id, status.failure
            )),
            Ok(_well) => {}
        }
    }
    remarks
}

/// Rows with each column as wide as its widest cell; numbers stand at the right.
fn columns<const N: usize>(rows: &[[String; N]], right: [bool; N]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).zip(right);
        let cells = cells.map(|((cell, width), right)| {
            if right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Two units, the larger first.
fn period(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(dash, |number| number.to_string())
}

pub(super) fn json(seen: &Seen) -> String {
    let group = seen.best().map(|best| {
        let members = seen.members().iter().map(|member| {
            let own = seen.of(member.id);
            json!({
                "id": member.id,
                "addr": member.addr,
                "role": seen.role(member),
                "answers": own.is_some(),
                "behind": seen.behind(member),
                "applied": own.and_then(|own| own.applied),
                "up_seconds": own.map(|own| own.up_seconds),
                "version": own.map(|own| own.version.clone()),
            })
        });
        json!({
            "leader": best.leader,
            "term": best.term,
            "last_log": best.last_log,
            "open_uploads": best.open_sessions,
            "members": members.collect::<Vec<_>>(),
        })
    });
    let nodes = seen.nodes().map(|(id, node)| {
        json!({
            "id": id.to_string(),
            "addr": node.address,
            "lease": node.epoch,
            "state": state(node),
            "joined_seconds": seen.joined_for(node),
            "version": node.version,
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    let certificates = seen.certificates().iter().map(|certificate| {
        json!({
            "names": certificate.names,
            "good_for_seconds": seen.good_for(certificate),
            "failure": Some(&certificate.failure).filter(|failure| !failure.is_empty()),
        })
    });
    let certificates: Vec<Value> = certificates.collect();
    let asked = seen.told().iter().map(|(addr, told)| answer(addr, told));
    json!({
        "cluster": seen.cluster(),
        "quorum": seen.has_quorum,
        "group": group,
        "nodes": nodes,
        "certificates": certificates,
        "versions": seen.versions(),
        "asked": asked.collect::<Vec<_>>(),
    })
    .to_string()
}

fn answer(addr: &str, status: &Result<StatusResponse, Refused>) -> Value {
    match status {
        Ok(status) => json!({
            "addr": addr,
            "id": status.id,
            "blank": status.blank,
            "term": status.term,
            "leader": status.leader,
            "snapshot": status.snapshot,
            "failure": Some(&status.failure).filter(|failure| !failure.is_empty()),
        }),
        Err(error) => json!({ "addr": addr, "error": error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
