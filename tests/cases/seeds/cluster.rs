//! The compose file of a whole cluster, on an engine: images go there and back, also when containers are killed.

use roadstead_tests::Machine;

use super::image::{composed, deployed};
use super::pushed_and_pulled_back;

const HERE: &str = "cd ~/cluster";

/// Members, nodes and gateways.
const HEALTHY: usize = 7;

#[test]
fn a_composed_cluster_bears_the_loss_of_containers() {
    let machine = Machine::with_registry(&["roadstead:latest"]);
    machine.add_nginx(&["nginx"]);
    machine.add_redis(&["redis:7"]);
    machine.add_image("app");
    it_is_composed(&machine);
    machine.run("docker tag app hub.local/app");
    pushed_and_pulled_back(&machine, "hub.local/app");
    it_tells_what_it_is(&machine);
    a_node_is_killed(&machine);
    a_gateway_is_killed(&machine);
    the_leader_is_killed(&machine);
    pushes_go_on_while_each_is_killed(&machine);
    machine.run(&format!("{HERE}; docker-compose down --volumes"));
}

fn it_is_composed(machine: &Machine) {
    machine.write("/root/cluster/docker-compose.yml", composed("cluster.yml"));
    for (file, sample) in [
        ("cluster-member.yml", "cluster-member.yml"),
        ("cluster-node.yml", "cluster-node.yml"),
        ("cluster-gateway.yml", "cluster-gateway.yml"),
        ("nginx/registry.conf", "gateways-nginx.conf"),
    ] {
        let text = deployed(&format!("samples/{sample}"));
        machine.write(&format!("/root/cluster/{file}"), text);
    }
    machine.add_names(&["hub.local"]);
    machine.run(&format!(
        "{HERE}
         (umask 077; echo \"REGISTRY_CLUSTER_SECRET=$(openssl rand -base64 32)\" > cluster.env)
         openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=unused -addext subjectAltName=DNS:hub.local \
           -keyout nginx/domain.key -out nginx/domain.crt
         mkdir -p /etc/docker/certs.d/hub.local; cp nginx/domain.crt /etc/docker/certs.d/hub.local/ca.crt
         docker-compose up -d"
    ));
    healthy(machine, HEALTHY);
    answers(machine);
}

fn answers(machine: &Machine) {
    machine.until(
        "a node answered behind nginx and a gateway",
        "curl -sf --cacert cluster/nginx/domain.crt https://hub.local/v2/",
    );
}

/// So many containers pass their health checks.
fn healthy(machine: &Machine, count: usize) {
    machine.until(
        &format!("{count} containers are healthy"),
        &format!("docker ps --quiet --filter health=healthy | wc -l | grep -x {count}"),
    );
}

fn it_tells_what_it_is(machine: &Machine) {
    let status = machine.run(&format!(
        "{HERE}; docker-compose exec -T meta-2 roadstead cluster status --config /etc/roadstead/member.yml"
    ));
    let table = status.text();
    for words in [
        "leads",
        "meta-1:7000",
        "meta-3:7000",
        "node-1:5000",
        "node-2:5000",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let secret = machine
        .run("docker inspect cluster_redis_1 cluster_nginx_1")
        .text();
    assert!(
        !secret.contains("REGISTRY_CLUSTER_SECRET"),
        "who needs no secret has none"
    );
}

/// nginx finds out by itself that one of two is away.
fn a_gateway_is_killed(machine: &Machine) {
    machine.run("docker kill cluster_gateway-1_1");
    answers(machine);
    machine.run("docker tag app hub.local/by-the-other");
    pushed_and_pulled_back(machine, "hub.local/by-the-other");
    machine.run("docker start cluster_gateway-1_1");
    healthy(machine, HEALTHY);
    // Told to end, one finishes what it has.
    machine.run("docker stop cluster_gateway-2_1");
    machine.run("docker tag app hub.local/by-the-first");
    pushed_and_pulled_back(machine, "hub.local/by-the-first");
    machine.run("docker start cluster_gateway-2_1");
    healthy(machine, HEALTHY);
}

/// Killed and not started again.
fn a_node_is_killed(machine: &Machine) {
    machine.run("docker kill cluster_node-1_1");
    answers(machine);
    machine.run("docker tag app hub.local/again");
    pushed_and_pulled_back(machine, "hub.local/again");
    machine.run("docker start cluster_node-1_1");
    healthy(machine, HEALTHY);
    // What the other took is there for the one that was away.
    machine.run("docker stop cluster_node-2_1; docker image rm hub.local/again");
    machine.run("docker pull hub.local/again");
    machine.run("docker start cluster_node-2_1");
    healthy(machine, HEALTHY);
}

fn the_leader_is_killed(machine: &Machine) {
    let status = format!(
        "{HERE}; docker-compose exec -T meta-1 roadstead cluster status --json --config /etc/roadstead/member.yml"
    );
    // On a busy machine members may be slow to answer.
    machine.until("somebody leads", &status);
    let leader = machine.run(&status);
    let leader = leader.json()["group"]["leader"].as_u64().expect("a leader");
    machine.run(&format!("docker kill cluster_meta-{leader}_1"));
    machine.run("docker tag app hub.local/without");
    pushed_and_pulled_back(machine, "hub.local/without");
    machine.run(&format!("docker start cluster_meta-{leader}_1"));
    healthy(machine, HEALTHY);
}

/// Pushes a new layer, and again, until it is told to stop. One that fails leaves what it said; with a gateway away it may
/// fail once, as nginx cannot send again what it has passed on.
const PUSHES: &str = "\
set -u
cd ~/busy
for n in $(seq 1000); do
  test -e stop && break
  head -c 16000000 /dev/urandom > layer
  image=hub.local/busy:$n
  DOCKER_BUILDKIT=0 docker build --quiet --tag $image . > said 2>&1
  if docker push $image > said 2>&1 || { test -e gateway-away && docker push $image >> said 2>&1; }
  then echo $n >> pushed
  else mv said failed.$n
  fi
  docker image rm $image > said 2>&1
done
touch stopped
";

/// The failure table through the whole of it: whatever is killed, nobody who pushes notices.
fn pushes_go_on_while_each_is_killed(machine: &Machine) {
    machine.write("/root/busy/pushes", PUSHES);
    machine.write("/root/busy/Dockerfile", "FROM app\nCOPY layer /layer\n");
    machine.run("touch busy/pushed; nohup bash busy/pushes >/dev/null 2>&1 </dev/null &");
    for killed in [
        "node-1",
        "meta-1",
        "gateway-1",
        "node-2",
        "meta-2",
        "gateway-2",
        "meta-3",
        "redis",
    ] {
        let is_gateway = killed.starts_with("gateway");
        two_more_are_pushed(machine, "with all of them");
        if is_gateway {
            machine.run("touch busy/gateway-away");
        }
        machine.run(&format!("docker kill cluster_{killed}_1"));
        two_more_are_pushed(machine, &format!("without {killed}"));
        machine.run(&format!("docker start cluster_{killed}_1"));
        healthy(machine, HEALTHY);
        if is_gateway {
            machine.run("rm busy/gateway-away");
        }
    }
    machine.run("touch busy/stop");
    machine.until("the last push ended", "test -e busy/stopped");
    let failed = "cd busy; shopt -s nullglob; for said in failed.*; do cat $said; done";
    assert_eq!(machine.run(failed).text(), "", "pushes failed");
}

/// One may have been under way before.
fn two_more_are_pushed(machine: &Machine, sentence: &str) {
    let pushed = machine.run("wc -l < busy/pushed").text();
    let pushed: u32 = pushed.trim().parse().expect("a number");
    let more = format!("test $(wc -l < busy/pushed) -ge {}", pushed + 2);
    machine.until(&format!("two more were pushed {sentence}"), &more);
}
