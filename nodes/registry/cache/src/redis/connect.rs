//! Connections to one server, to the master that sentinels name, or to a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_read_routing::RandomReplicaStrategy;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates, TlsMode, Value, cmd, pipe,
};
use tokio::time::timeout;

use crate::options::{Addr, Credentials, Identity, RedisOptions, Servers, Tls};

/// A connection that all requests share.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn run(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        match self {
            Self::One(connection) => {
                let mut pipeline = pipe();
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                pipeline.query_async(connection).await
            }
            // The keys lie on several nodes.
            Self::Cluster(connection) => {
                let mut values = Vec::with_capacity(commands.len());
                for command in commands {
                    values.push(connection.req_packed_command(command).await?);
                }
                Ok(values)
            }
        }
    }

    pub(super) async fn ping(&mut self) -> RedisResult<()> {
        self.run(&[cmd("PING")]).await.map(drop)
    }
}

/// Where it is, for the log.
pub(super) fn place(servers: &Servers) -> String {
    let list = |addrs: &[Addr]| {
        let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
        addrs.join(", ")
    };
    match servers {
        Servers::Single(addr) => addr.to_string(),
        Servers::Cluster(addrs) => format!("the cluster of {}", list(addrs)),
        Servers::Sentinel {
            master, sentinels, ..
        } => format!("{master}, which the sentinels {} know", list(sentinels)),
    }
}

/// Connects, within the time to dial.
pub(super) async fn connect(options: &RedisOptions) -> RedisResult<Connection> {
    let dialing = async {
        match &options.servers {
            Servers::Single(addr) => single(options, addr).await,
            Servers::Cluster(addrs) => cluster(options, addrs).await,
            Servers::Sentinel {
                master,
                sentinels,
                credentials,
            } => sentinel(options, master, sentinels, credentials).await,
        }
    };
    match timeout(options.patience.dial, dialing).await {
        Ok(connected) => connected,
        Err(_late) => Err(RedisError::from((
            ErrorKind::Io,
            "no connection within the time to dial",
        ))),
    }
}

async fn single(options: &RedisOptions, addr: &Addr) -> RedisResult<Connection> {
    let info = info(options, addr)?.set_redis_settings(settings(options));
    let client = match &options.tls {
        Some(tls) => Client::build_with_tls(info, certificates(tls))?,
        None => Client::open(info)?,
    };
    let connection = client
        .get_multiplexed_async_connection_with_config(&config(options))
        .await?;
    named(connection, options).await
}

async fn sentinel(
    options: &RedisOptions,
    master: &str,
    sentinels: &[Addr],
    credentials: &Credentials,
) -> RedisResult<Connection> {
    let addrs = sentinels.iter().map(|addr| address(options, addr));
    let mut builder = SentinelClientBuilder::new(addrs, master, SentinelServerType::Master)?
        .set_client_to_redis_db(i64::from(options.db))
        .set_client_to_redis_protocol(protocol(options));
    if let Some(username) = &options.credentials.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &options.credentials.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = &credentials.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &credentials.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(tls) = &options.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(tls))
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates(tls));
    }
    // A new client each time: one that remembers would go on with who was master.
    let mut client = builder.build()?;
    let connection = client
        .get_async_connection_with_config(&config(options))
        .await?;
    named(connection, options).await
}

async fn cluster(options: &RedisOptions, addrs: &[Addr]) -> RedisResult<Connection> {
    let nodes = addrs
        .iter()
        .map(|addr| info(options, addr))
        .collect::<RedisResult<Vec<_>>>()?;
    let patience = options.patience;
    let mut builder: ClusterClientBuilder = ClusterClient::builder(nodes)
        .connection_timeout(patience.dial)
        .response_timeout(patience.write)
        .retries(options.redirects)
        .use_protocol(protocol(options));
    if let Some(username) = &options.credentials.username {
        builder = builder.username(username);
    }
    if let Some(password) = &options.credentials.password {
        builder = builder.password(password);
    }
    if let Some(tls) = &options.tls {
        builder = builder.tls(TlsMode::Secure).certs(certificates(tls));
    }
    if options.read_replicas {
        builder = builder.read_routing_strategy(RandomReplicaStrategy);
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(Connection::Cluster(connection))
}

/// Called what the configuration says, where Redis lets it be called so.
async fn named(
    mut connection: MultiplexedConnection,
    options: &RedisOptions,
) -> RedisResult<Connection> {
    if let Some(name) = &options.client_name {
        let named: RedisResult<()> = cmd("CLIENT")
            .arg("SETNAME")
            .arg(name)
            .query_async(&mut connection)
            .await;
        if let Err(error) = named {
            tracing::debug!(%error, "redis.clientname is not taken");
        }
    }
    Ok(Connection::One(connection))
}

fn info(options: &RedisOptions, addr: &Addr) -> RedisResult<ConnectionInfo> {
    address(options, addr).into_connection_info()
}

fn address(options: &RedisOptions, addr: &Addr) -> ConnectionAddr {
    let (host, port) = (addr.host.clone(), addr.port);
    if options.tls.is_none() {
        return ConnectionAddr::Tcp(host, port);
    }
    ConnectionAddr::TcpTls {
        host,
        port,
        insecure: false,
        tls_params: None,
    }
}

fn settings(options: &RedisOptions) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default()
        .set_db(i64::from(options.db))
        .set_protocol(protocol(options));
    if let Some(username) = &options.credentials.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &options.credentials.password {
        settings = settings.set_password(password);
    }
    match &options.identity {
        Identity::Plain => settings,
        Identity::Hidden => settings.set_skip_set_lib_name(),
        Identity::Suffix(suffix) => {
            settings.set_lib_name(format!("roadstead({suffix})"), env!("CARGO_PKG_VERSION"))
        }
    }
}

fn protocol(options: &RedisOptions) -> ProtocolVersion {
    if options.protocol == 2 {
        ProtocolVersion::RESP2
    } else {
        ProtocolVersion::RESP3
    }
}

fn certificates(tls: &Tls) -> TlsCertificates {
    TlsCertificates {
        client_tls: tls
            .identity
            .clone()
            .map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
        root_cert: tls.authorities.clone(),
    }
}

/// The library's own time-outs stay behind ours.
fn config(options: &RedisOptions) -> AsyncConnectionConfig {
    let patience = options.patience;
    let longest = patience.read.max(patience.write).saturating_mul(2);
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience.dial))
        .set_response_timeout(Some(longest.max(Duration::from_secs(1))))
}
