//! Nodes behind haproxy, with the configuration that is shipped for it.

use roadstead_tests::proxy::Proxy;
use roadstead_tests::wait_until;

use super::nodes::{Cluster, DEADLINE};
use crate::proxies::{assert_pushes_and_pulls, assert_skopeo_pushes_and_pulls, through};

const SAMPLE: &str = include_str!("../../../deploy/samples/cluster-haproxy.cfg");

#[test]
fn the_shipped_haproxy_goes_round_a_node_that_is_gone_or_drains() {
    let mut cluster = Cluster::start(2);
    let nodes = [0, 1].map(|n| cluster.node(n).addr());
    let proxy = Proxy::haproxy_as_shipped(SAMPLE, &nodes);
    for version in ["--http1.1", "--http2"] {
        assert_pushes_and_pulls(&proxy, &[version]);
    }
    assert_skopeo_pushes_and_pulls(proxy.addr());
    let base = format!("{}/v2/", proxy.url());
    let status = || through(&proxy, &[&base]).answer.status;

    cluster.kill(0);
    for _ in 0..20 {
        assert_eq!(status(), 200, "what one cannot take goes to the other");
    }
    assert_pushes_and_pulls(&proxy, &[]);

    let address = nodes[1].port().to_string();
    let told = cluster.nodes();
    let told = told.iter().filter_map(|node| node["addr"].as_str());
    let address = told.into_iter().find(|told| told.ends_with(&address));
    let address = address.expect("the node that is left").to_owned();
    cluster.command(&["drain", &address]).ok();
    wait_until("nobody wants work", DEADLINE, || status() == 503);
    assert_eq!(cluster.node(1).client().get("/v2/").status, 200);
    cluster.command(&["drain", "--undo", &address]).ok();
    wait_until("it is taken back", DEADLINE, || status() == 200);
    assert_pushes_and_pulls(&proxy, &[]);
}
