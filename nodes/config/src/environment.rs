//! The `REGISTRY_*` variables, laid over the tree of the file before anything has a type.
//!
//! The rule is the reference's. Variables are taken in the order of their names, so that `REGISTRY_STORAGE=s3`, which
//! replaces the whole of `storage`, comes before `REGISTRY_STORAGE_S3_BUCKET`. A name is split at `_` and followed
//! from the root: maps by name in any case, lists by index, where the index after the last adds an item. The value is
//! YAML. A name that leads nowhere is ignored with a warning.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::mistake::{Findings, Mistake, Mistakes, Origin, Warning};
use crate::node::{self, Kind, MAX_DEPTH, Node};
use crate::schema::{self, Astray, Step, Stray};

const PREFIX: &str = "REGISTRY_";
/// Says where the file is, not what is in it.
pub(crate) const PATH_VARIABLE: &str = "REGISTRY_CONFIGURATION_PATH";
/// The file says which version it is written in.
const VERSION_VARIABLE: &str = "REGISTRY_VERSION";
/// Bytes of a name. A key has a hundred; finding out what was meant takes time that grows with the square of them.
const MAX_NAME: usize = 1024;

/// The `REGISTRY_*` variables of this process, the only place where they are read.
///
/// A variable of ours that is not UTF-8 is a mistake: no setting could hold it.
pub fn from_process() -> Result<Vec<(String, String)>, Mistakes> {
    in_utf8(std::env::vars_os())
}

/// What systemd says of a socket that it opened for this process: `LISTEN_PID` and `LISTEN_FDS`, where they are numbers.
pub fn socket_activation() -> (Option<u32>, Option<u32>) {
    let number = |name| std::env::var_os(name)?.to_str()?.parse().ok();
    (number("LISTEN_PID"), number("LISTEN_FDS"))
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceCollector {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    /// Who may have signed the collector's certificate, instead of whom the system trusts: a PEM file, by
    /// `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`, else `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub certificate: Option<PathBuf>,
}

/// Where traces are to go by OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_ENDPOINT`, unless
/// `OTEL_TRACES_EXPORTER=none` or `OTEL_SDK_DISABLED=true`. Without it nothing is traced; the reference tries a collector
/// on this machine.
pub fn trace_collector() -> Option<TraceCollector> {
    let value = |name| std::env::var_os(name)?.into_string().ok();
    let off = value("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter == "none")
        || value("OTEL_SDK_DISABLED").is_some_and(|disabled| disabled == "true");
    let endpoint =
        value("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|endpoint| !off && !endpoint.is_empty())?;
    let file = |name| std::env::var_os(name).filter(|path| !path.is_empty());
    let certificate = file("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
        .or_else(|| file("OTEL_EXPORTER_OTLP_CERTIFICATE"))
        .map(PathBuf::from);
    Some(TraceCollector {
        endpoint,
        certificate,
    })
}

fn in_utf8(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Mistakes> {
    let mut variables = Vec::new();
    let mut mistakes = Vec::new();
    for (name, value) in all {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (Ok(name), Err(_)) => mistakes.push(not_utf8(name)),
            (Err(name), _) => mistakes.push(not_utf8(name.to_string_lossy().into_owned())),
        }
    }
    if mistakes.is_empty() {
        Ok(variables)
    } else {
        Err(mistakes.into())
    }
}

fn not_utf8(name: String) -> Mistake {
    let origin = Origin::Variable(name.clone());
    Mistake::new(name, origin, "the variable is not UTF-8")
}

/// Lays the variables over the tree.
pub(crate) fn apply(
    root: &mut Node,
    variables: impl IntoIterator<Item = (String, String)>,
    findings: &mut Findings,
) {
    let ours = |name: &str| name.starts_with(PREFIX) && name != PATH_VARIABLE;
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| ours(name))
        .collect();
    variables.sort();
    for (name, value) in variables {
        if name == VERSION_VARIABLE {
            let origin = Origin::Variable(name.clone());
            findings.remark(&name, &origin, "ignored: only the file states its version");
        } else if let Err(mistake) = overlay(root, &name, &value, findings) {
            findings.mistakes.push(mistake);
        }
    }
}

fn overlay(
    root: &mut Node,
    variable: &str,
    value: &str,
    findings: &mut Findings,
) -> Result<(), Mistake> {
    let origin = Origin::Variable(variable.to_owned());
    if variable.len() > MAX_NAME {
        return Err(Mistake::new(variable, origin, "the name is too long"));
    }
    let fields = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let fields = fields.to_lowercase();
    let key = schema::wanted_key(&fields.split('_').collect::<Vec<_>>());
    let steps = match schema::follow(&key) {
        Ok(steps) if steps.len() < MAX_DEPTH => steps,
        Ok(_) => return Err(Mistake::new(variable, origin, "the name is too long")),
        Err(stray) => return astray(variable, origin, &key, &stray, findings),
    };
    let value = inline(variable, value, &origin)?;
    set(root, &steps, value, &origin)
        .map_err(|reason| Mistake::new(variable, origin.clone(), reason))?;
    if steps.len() == 1 {
        schema::name_kinds(root);
    }
    Ok(())
}

/// A value is YAML, so `[a, b]` is a list and `{a: b}` a map. It may be a secret: it is never repeated.
fn inline(variable: &str, value: &str, origin: &Origin) -> Result<Node, Mistake> {
    let document = node::parse(value, &|_line| origin.clone()).map_err(|fault| {
        let reason = format!("the value is not YAML ({}); quote it", fault.reason);
        Mistake::new(variable, origin.clone(), reason)
    })?;
    Ok(document.root)
}

/// What becomes of a variable that leads nowhere.
fn astray(
    variable: &str,
    origin: Origin,
    key: &[String],
    stray: &Stray,
    findings: &mut Findings,
) -> Result<(), Mistake> {
    let meant = mended(key, stray).map(|key| schema::environment_name(&key));
    match stray.how {
        Astray::UnknownKind(sort, _) if !is_service_link(&key[stray.at]) => {
            let reason = format!("there is no {sort} named {}", key[stray.at]);
            return Err(Mistake::new(variable, origin, reason).suggest(meant));
        }
        Astray::NotAnIndex => {
            let reason = format!("{:?} is not the index of a list", key[stray.at]);
            return Err(Mistake::new(variable, origin, reason));
        }
        Astray::Unknown(_) | Astray::UnknownKind(..) => {
            findings.warnings.push(Warning::UnknownVariable {
                variable: variable.to_owned(),
                suggestion: meant,
            });
        }
    }
    Ok(())
}

/// Kubernetes gives every pod `REGISTRY_AUTH_SERVICE_HOST` and `REGISTRY_AUTH_PORT` when a service is called
/// `registry-auth`: nobody chose an access controller with that.
fn is_service_link(segment: &str) -> bool {
    matches!(segment, "service" | "port")
}

/// The key with its stray names replaced by the nearest ones, if that makes it a key.
fn mended(key: &[String], stray: &Stray) -> Option<Vec<String>> {
    let mut key = key.to_vec();
    let mut at = stray.at;
    let mut how = nearest(&stray.how);
    loop {
        how?.clone_into(&mut key[at]);
        match schema::follow(&key) {
            Ok(_) => return Some(key),
            // Each round mends a later name, so there are no more rounds than names.
            Err(next) if next.at > at => {
                how = nearest(&next.how);
                at = next.at;
            }
            Err(_) => return None,
        }
    }
}

fn nearest(how: &Astray) -> Option<&'static str> {
    match how {
        Astray::Unknown(nearest) | Astray::UnknownKind(_, nearest) => *nearest,
        Astray::NotAnIndex => None,
    }
}

/// Puts `value` at the end of the steps, with the maps and lists that are missing on the way.
fn set(node: &mut Node, steps: &[Step], value: Node, origin: &Origin) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    let below = match step {
        Step::Key(name) => entry(node, name, origin)?,
        Step::Index(index) => item(node, *index, origin)?,
        Step::Free(name) => match (&node.kind, name.parse()) {
            (Kind::Seq(_), Ok(index)) => item(node, index, origin)?,
            _ => entry(node, name, origin)?,
        },
    };
    set(below, rest, value, origin)
}

/// The entry of a map, found in any case, or made in lower case.
fn entry<'n>(node: &'n mut Node, name: &str, origin: &Origin) -> Result<&'n mut Node, String> {
    if node.is_blank() {
        node.kind = Kind::Map(Vec::new());
    }
    let noun = node.noun();
    let Kind::Map(entries) = &mut node.kind else {
        return Err(format!("sets {name} inside {noun}, which is not a map"));
    };
    let found = entries
        .iter()
        .position(|(key, _)| key.eq_ignore_ascii_case(name));
    let at = found.unwrap_or(entries.len());
    if found.is_none() {
        entries.push((name.to_owned(), Node::null(origin.clone())));
    }
    Ok(&mut entries[at].1)
}

/// The item of a list, which may be the one after the last.
fn item<'n>(node: &'n mut Node, index: usize, origin: &Origin) -> Result<&'n mut Node, String> {
    if node.is_blank() {
        node.kind = Kind::Seq(Vec::new());
    }
    let noun = node.noun();
    let Kind::Seq(items) = &mut node.kind else {
        return Err(format!("sets item {index} of {noun}, which is not a list"));
    };
    if index > items.len() {
        let length = items.len();
        return Err(format!(
            "sets item {index} of a list of {length}; the next is {length}"
        ));
    }
    if index == items.len() {
        items.push(Node::null(origin.clone()));
    }
    Ok(&mut items[index])
}

#[cfg(test)]
mod tests;
