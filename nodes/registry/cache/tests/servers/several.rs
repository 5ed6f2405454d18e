//! Sentinels and clusters.

use roadstead_cache::{Credentials, EpochSource, RedisOptions, Servers};

use super::server::{Server, free_port, wait_for};
use super::{addr, cache, down, key, learn, redis, seven, up};

/// A failover: the replica becomes the master, without what it was not told.
#[tokio::test]
async fn a_sentinel_leads_to_the_new_master() {
    let mut master = Server::start(&[]).await;
    let port = master.port;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port.to_string()]).await;
    let sentinel = Server::sentinel(&format!(
        "sentinel monitor main 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds main 1000\n\
         sentinel failover-timeout main 5000"
    ))
    .await;
    let options = RedisOptions {
        servers: Servers::Sentinel {
            master: "main".to_owned(),
            sentinels: vec![addr(free_port()), addr(sentinel.port)],
            credentials: Credentials::default(),
        },
        ..redis(super::at(0))
    };
    let cache = cache(options, EpochSource::Own).await;
    up(&cache).await;
    let blob = key("a blob");
    learn(&cache, &blob).await;
    wait_for(
        "the replica has the entry, and the sentinel knows it",
        || async {
            let keys = replica.says(&["DBSIZE"]) == "3";
            let known = sentinel.says(&["SENTINEL", "REPLICAS", "main"]);
            (keys && known.contains(&replica.port.to_string())).then_some(())
        },
    )
    .await;
    master.kill();
    assert_eq!(cache.find(cache.begin(), &blob).await, None);
    down(&cache).await;
    wait_for("the replica is the master", || async {
        replica.says(&["ROLE"]).starts_with("master").then_some(())
    })
    .await;
    up(&cache).await;
    assert_eq!(
        cache.find(cache.begin(), &blob).await,
        None,
        "from before the failover"
    );
    learn(&cache, &blob).await;
}

/// The keys of one entry lie on several nodes. Existence is not believed from there.
#[tokio::test]
async fn a_cluster_tells_sizes() {
    let arguments = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes"];
    // The port of the cluster's own traffic is given: the default lies 10000 above, perhaps beyond 65535.
    let buses: [String; 3] = [(); 3].map(|()| free_port().to_string());
    let mut nodes = Vec::new();
    for bus in &buses {
        let arguments = [&arguments[..], &["--cluster-port", bus]].concat();
        nodes.push(Server::start(&arguments).await);
    }
    let named = nodes.iter().zip(&buses);
    let addrs: Vec<String> = named
        .map(|(node, bus)| format!("127.0.0.1:{}@{bus}", node.port))
        .collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let create = [&["--cluster", "create"], &addrs[..], &["--cluster-yes"]].concat();
    let made = nodes[0].says(&create);
    assert!(made.contains("All 16384 slots covered"), "{made}");
    for node in &nodes {
        wait_for("the cluster is whole", || async {
            node.says(&["CLUSTER", "INFO"])
                .contains("cluster_state:ok")
                .then_some(())
        })
        .await;
    }
    let options = RedisOptions {
        servers: Servers::Cluster(nodes.iter().map(|node| addr(node.port)).collect()),
        ..redis(super::at(0))
    };
    let cache = cache(options, EpochSource::Own).await;
    up(&cache).await;
    let blobs: Vec<_> = (0..8)
        .map(|number| key(&format!("blob {number}")))
        .collect();
    for blob in &blobs {
        cache.learn(cache.begin(), blob, &seven());
        let described = wait_for("it tells the size", || cache.describe(blob)).await;
        assert_eq!(described, seven());
        assert_eq!(cache.find(cache.begin(), blob).await, None, "no proof");
    }
    let held = nodes.iter().filter(|node| node.says(&["DBSIZE"]) != "0");
    assert!(held.count() > 1, "the keys lie on several nodes");
    for blob in &blobs {
        assert!(cache.removing(blob).await.end().await);
        assert_eq!(cache.describe(blob).await, None);
    }
}
