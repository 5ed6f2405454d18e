//! `deploy/kubernetes`: right by the schemas of Kubernetes, and its parts fit together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roadstead_tests::{registry, scratch, tools};
use serde_json::Value;

const SCHEMAS_OF: &str = "1.31";

/// Which workload reads which file, and the part of the program that it runs.
const WORKLOADS: [(&str, &str); 3] = [
    ("metadata", "metadata"),
    ("nodes", "registry"),
    ("gateways", "gateway"),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

/// All manifests, after they were held against the schemas.
fn manifests() -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/kubernetes_steps.py");
    let mut files: Vec<String> = std::fs::read_dir(directory())
        .expect("deploy/kubernetes")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .filter(|path| Path::new(path).extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    let mut args = vec![SCHEMAS_OF];
    args.extend(files.iter().map(String::as_str));
    let printed = tools::python(&script, &args, scratch().path()).json();
    let documents = printed.as_array();
    documents.expect("a list of manifests").clone()
}

fn named<'a>(documents: &'a [Value], kinds: &[&str], name: &str) -> &'a Value {
    let found = documents.iter().find(|one| {
        let kind = one["kind"].as_str().unwrap_or_default();
        kinds.contains(&kind) && one["metadata"]["name"] == name
    });
    assert!(found.is_some(), "no {kinds:?} with the name {name}");
    found.expect("it was found")
}

fn workload<'a>(documents: &'a [Value], name: &str) -> &'a Value {
    named(documents, &["Deployment", "StatefulSet"], name)
}

fn container(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What a variable of a pod may be.
fn value_of(variable: &Value) -> String {
    let name = variable["name"].as_str().expect("a name");
    let from = &variable["valueFrom"];
    match variable["value"].as_str() {
        Some(value) => value.replace("$(POD_IP)", "10.1.2.3"),
        None if from["fieldRef"]["fieldPath"] == "status.podIP" => "10.1.2.3".to_owned(),
        None if name == "REGISTRY_METADATA_ID" => "1".to_owned(),
        None => "as-long-a-secret-as-anybody-could-want".to_owned(),
    }
}

#[test]
fn each_workload_runs_the_program_with_a_configuration_that_is_right() {
    let documents = manifests();
    for (name, part) in WORKLOADS {
        let container = container(workload(&documents, name));
        let command: Vec<&str> = each(&container["command"])
            .map(|word| word.as_str().expect("a word"))
            .collect();
        let file = "/etc/roadstead/config/config.yml";
        assert_eq!(command, ["roadstead", part, file], "{name}");

        let written = directory().join(format!("{name}.yml"));
        let mut check = registry::command().arg("check").arg(&written);
        for variable in each(&container["env"]) {
            let variable_name = variable["name"].as_str().expect("a name");
            check = check.env(variable_name, value_of(variable));
        }
        let checked = check.ok().text();
        assert!(checked.contains("the configuration is right"), "{checked}");
        assert!(!checked.contains("warning"), "{checked}");
    }
}

#[test]
fn the_configurations_reach_the_pods_that_read_them() {
    let documents = manifests();
    let kustomization = documents
        .iter()
        .find(|one| one["kind"] == "Kustomization")
        .expect("a kustomization");
    for resource in each(&kustomization["resources"]) {
        let file = directory().join(resource.as_str().expect("a file's name"));
        assert!(file.is_file(), "{}", file.display());
    }
    let expected: BTreeSet<_> = WORKLOADS
        .iter()
        .map(|(name, _)| format!("config.yml={name}.yml"))
        .collect();
    let generated: BTreeSet<_> = each(&kustomization["configMapGenerator"])
        .flat_map(|map| each(&map["files"]))
        .map(|file| file.as_str().expect("a file").to_owned())
        .collect();
    assert_eq!(generated, expected);
    for (name, _) in WORKLOADS {
        let pod = &workload(&documents, name)["spec"]["template"]["spec"];
        let volume = each(&pod["volumes"])
            .find(|volume| volume["name"] == "config")
            .expect("a volume with the configuration");
        assert_eq!(volume["configMap"]["name"], name);
        // Else a service called `registry` would be read as settings.
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
    }
}

#[test]
fn probes_services_policies_and_budgets_name_what_is_there() {
    let documents = manifests();
    for (name, _) in WORKLOADS {
        let workload = workload(&documents, name);
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        assert_eq!(workload["spec"]["selector"]["matchLabels"], *labels);
        let budget = named(&documents, &["PodDisruptionBudget"], name);
        assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels);
        let policy = named(&documents, &["NetworkPolicy"], name);
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], *labels);

        let ports: Vec<&Value> = each(&container(workload)["ports"]).collect();
        let open: BTreeSet<_> = each(&policy["spec"]["ingress"])
            .flat_map(|rule| each(&rule["ports"]))
            .map(|port| port["port"].as_u64())
            .collect();
        let listened: BTreeSet<_> = ports
            .iter()
            .map(|port| port["containerPort"].as_u64())
            .collect();
        assert_eq!(open, listened, "{name}");
        for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
            let asked = &container(workload)[probe]["httpGet"];
            assert_eq!(asked["path"], path, "{name}");
            assert!(
                ports.iter().any(|port| port["name"] == asked["port"]),
                "{name} {probe}"
            );
        }
        let written = std::fs::read_to_string(directory().join(format!("{name}.yml")));
        let written = written.expect("a configuration");
        for port in listened.into_iter().flatten() {
            assert!(written.contains(&format!(":{port}")), "{name}: {port}");
        }
    }
}

#[test]
fn members_are_named_as_kubernetes_names_their_pods() {
    let documents = manifests();
    let members = workload(&documents, "metadata");
    let service = members["spec"]["serviceName"].as_str().expect("a service");
    let headless = named(&documents, &["Service"], service);
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(headless["spec"]["publishNotReadyAddresses"], true);
    let first = members["spec"]["ordinals"]["start"].as_u64().expect("1");
    let count = members["spec"]["replicas"].as_u64().expect("a number");
    let port = &headless["spec"]["ports"][0]["port"];
    let addresses: Vec<String> = (first..first + count)
        .map(|ordinal| format!("metadata-{ordinal}.{service}:{port}"))
        .collect();
    let list = format!("metadata: [{}]", addresses.join(", "));
    for (name, _) in WORKLOADS {
        let written = std::fs::read_to_string(directory().join(format!("{name}.yml")));
        assert!(
            written.expect("a configuration").contains(&list),
            "{name}: {list}"
        );
    }
    let written = std::fs::read_to_string(directory().join("metadata.yml"));
    let written = written.expect("a configuration");
    for (ordinal, address) in (first..).zip(&addresses) {
        assert!(written.contains(&format!("    {ordinal}: {address}\n")));
    }
}

#[test]
fn pods_are_given_longer_to_end_than_the_program_takes() {
    let documents = manifests();
    for (name, setting, pause) in [
        ("nodes", "draintimeout: 60s", 0),
        ("gateways", "drain: 60s", 10),
    ] {
        let written = std::fs::read_to_string(directory().join(format!("{name}.yml")));
        assert!(
            written.expect("a configuration").contains(setting),
            "{name}"
        );
        let pod = &workload(&documents, name)["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64();
        assert!(grace.expect("a number") > 60 + pause, "{name}");
    }
}
