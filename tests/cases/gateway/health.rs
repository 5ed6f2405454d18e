//! Which nodes get requests.

use std::net::SocketAddr;

use roadstead_tests::gateway::own_address;
use roadstead_tests::{Gateway, Options, Registry, run::Run, wait_until};

use super::{SOON, node};

/// A registry that wants to know who asks.
fn guarded() -> (Registry, SocketAddr, tempfile::TempDir) {
    let home = roadstead_tests::scratch();
    let file = home.path().join("htpasswd");
    let made = Run::new(roadstead_tests::registry::program())
        .args(["htpasswd", "-Bbn", "alice", "secret"])
        .ok();
    std::fs::write(&file, made.text()).expect("a file of users");
    let addr = own_address();
    let yaml = format!(
        "auth:\n  htpasswd:\n    realm: x\n    path: {}\n",
        file.display()
    );
    (
        Registry::roadstead(Options::default().at(addr).yaml(&yaml)),
        addr,
        home,
    )
}

const QUICKLY: &str = "  health: {interval: 200ms, slowstart: 0}\n";

#[test]
fn a_node_that_asks_for_a_login_is_well_and_one_that_lets_strangers_in_is_taken_out() {
    let (_guarded, well, _home) = guarded();
    let (_open, unprotected) = node();
    let gateway = Gateway::start(&[well, unprotected], QUICKLY, "");
    gateway.wait_until(well, "up");
    wait_until("it was shouted about", SOON, || {
        gateway.log().contains("UNPROTECTED")
    });
    assert_eq!(gateway.standing(unprotected), "down");
    for _ in 0..20 {
        let answer = gateway.client().get("/v2/").expect_status(401);
        assert!(
            answer
                .expect_header("www-authenticate")
                .starts_with("Basic")
        );
    }
    let login = "Basic YWxpY2U6c2VjcmV0";
    let call = gateway
        .client()
        .call("GET", "/v2/")
        .header("authorization", login);
    call.send().expect_status(200);
    assert!(
        (gateway.figure(&format!(
            "roadstead_gateway_node_up{{node=\"{unprotected}\"}}"
        )))
        .abs()
            < 0.5
    );
    assert!(
        !gateway.log().contains("YWxpY2U6c2VjcmV0"),
        "no secret is logged"
    );
}

#[test]
fn where_everybody_may_come_in_a_login_is_no_sign_of_health() {
    let (_guarded, closed, _home) = guarded();
    let (_open, well) = node();
    let gateway = Gateway::open(&[closed, well], "");
    gateway.wait_until(well, "up");
    wait_until("the other was judged", SOON, || {
        gateway.log().contains("it answers 401")
    });
    assert_eq!(gateway.standing(closed), "down");
}

#[test]
fn a_node_that_goes_costs_no_request_and_comes_back_by_itself() {
    let (mut one, first) = node();
    let (_other, second) = node();
    let gateway = Gateway::open(&[first, second], "");
    for node in [first, second] {
        gateway.wait_until(node, "up");
    }
    let client = gateway.client();
    let ask = || {
        for _ in 0..50 {
            client.get("/v2/").expect_status(200);
        }
    };
    ask();
    one.kill();
    ask();
    gateway.wait_until(first, "down");
    ask();
    one.restart();
    gateway.wait_until(first, "up");
    ask();
}

#[test]
fn more_requests_than_are_allowed_are_turned_away() {
    let (registry, addr) = node();
    let gateway = Gateway::open(&[addr], "  limits: {requests: 1}\n");
    gateway.wait_until(addr, "up");
    let repository = gateway.repository("busy");
    let session = repository.open_upload();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
        super::path_of(&session)
    );
    let busy = crate::raw::Raw::at(gateway.addr()).say(head.as_bytes());
    // Whoever asked the gateway itself could be the one that it allows.
    let figure = format!("roadstead_gateway_node_in_flight_requests{{node=\"{addr}\"}}");
    wait_until("the upload began", SOON, || gateway.figure(&figure) > 0.5);
    let refused = gateway.client().get("/v2/").expect_status(503);
    refused.expect_header("retry-after");
    gateway.client().get("/readyz").expect_status(200);
    drop(busy);
    wait_until("there was room again", SOON, || {
        gateway.client().get("/v2/").status == 200
    });
    drop(registry);
}
