//! What members say, for people and for programs.

use roadstead_metadata::{Member, Node, Nodes, Refused, StatusResponse};
use serde_json::{Value, json};

type Told = [(String, Result<StatusResponse, Refused>)];

/// Who knows best: the leader, else whoever has the latest term.
fn best(told: &Told) -> Option<&StatusResponse> {
    let answers = told.iter().filter_map(|(_, status)| status.as_ref().ok());
    answers.max_by_key(|status| (status.leader == Some(status.id), status.term))
}

fn status_of(told: &Told, id: u64) -> Option<&StatusResponse> {
    let answers = told.iter().filter_map(|(_, status)| status.as_ref().ok());
    answers.into_iter().find(|status| status.id == id)
}

fn role(member: &Member, leader: Option<u64>) -> &'static str {
    match (member.voter, leader == Some(member.id)) {
        (_, true) => "leader",
        (true, false) => "voter",
        (false, false) => "learner",
    }
}

pub(super) fn readable(told: &Told, nodes: &Nodes) -> String {
    let mut lines = Vec::new();
    match best(told) {
        Some(best) => {
            let leader = best.leader.map_or_else(
                || "nobody leads".to_owned(),
                |id| format!("member {id} leads"),
            );
            lines.push(format!(
                "{leader}, term {}, log {}, {} uploads open",
                best.term,
                number(best.last_log),
                best.open_sessions
            ));
            let head = ["id", "address", "role", "behind", "applied", "version"];
            lines.push(row(head.map(str::to_owned)));
            for member in &best.members {
                lines.push(member_row(told, best, member));
            }
        }
        None => lines.push("no member answers".to_owned()),
    }
    if !nodes.is_empty() {
        let head = ["address", "lease", "state", "version"];
        lines.push(String::new());
        lines.push(node_row(head.map(str::to_owned)));
    }
    for node in nodes.values() {
        lines.push(node_row([
            node.address.clone(),
            node.epoch.to_string(),
            state(node).to_owned(),
            node.version.clone(),
        ]));
    }
    for (addr, status) in told {
        match status {
            Err(error) => lines.push(format!("{addr}: {error}")),
            Ok(status) if status.blank => {
                lines.push(format!(
                    "{addr}: member {} is blank, of no group yet",
                    status.id
                ));
            }
            Ok(status) if !status.failure.is_empty() => {
                lines.push(format!(
                    "{addr}: member {} has failed: {}",
                    status.id, status.failure
                ));
            }
            Ok(_well) => {}
        }
    }
    lines.join("\n")
}

fn member_row(told: &Told, best: &StatusResponse, member: &Member) -> String {
    let own = status_of(told, member.id);
    let behind = best
        .last_log
        .zip(member.matched)
        .map(|(last, has)| last.saturating_sub(has));
    row([
        member.id.to_string(),
        member.addr.clone(),
        role(member, best.leader).to_owned(),
        number(behind),
        number(own.and_then(|own| own.applied)),
        own.map_or_else(|| "-".to_owned(), |own| own.version.clone()),
    ])
}

fn row([id, addr, role, behind, applied, version]: [String; 6]) -> String {
    format!("{id:>4}  {addr:<28} {role:<8} {behind:>8} {applied:>10}  {version}")
}

fn node_row([addr, lease, state, version]: [String; 4]) -> String {
    format!("node  {addr:<28} {state:<8} {lease:>8}  {version}")
}

fn state(node: &Node) -> &'static str {
    if node.draining { "draining" } else { "serving" }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

pub(super) fn json(told: &Told, nodes: &Nodes) -> String {
    let group = best(told).map(|best| {
        let members = best.members.iter().map(|member| {
            let own = status_of(told, member.id);
            json!({
                "id": member.id,
                "addr": member.addr,
                "role": role(member, best.leader),
                "behind": best.last_log.zip(member.matched).map(|(last, has)| last.saturating_sub(has)),
                "applied": own.and_then(|own| own.applied),
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
    let nodes = nodes.iter().map(|(id, node)| {
        json!({
            "id": id.to_string(),
            "addr": node.address,
            "lease": node.epoch,
            "state": state(node),
            "version": node.version,
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    let asked = told.iter().map(|(addr, status)| answer(addr, status));
    json!({ "group": group, "nodes": nodes, "asked": asked.collect::<Vec<_>>() }).to_string()
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
